"""The simulated network: who is where, how switches are wired and what their tables hold."""
