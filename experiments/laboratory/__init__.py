"""`esa cluster`: schedulers of a cluster in virtual time."""
