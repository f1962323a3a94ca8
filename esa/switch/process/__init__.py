"""The switch as a process: command line, ports, captures."""
