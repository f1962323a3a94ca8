"""The P4Runtime service over a loaded program."""
