"""Studies of cluster schedulers, each a file that says what is simulated and what to make of it: `esa study`."""
