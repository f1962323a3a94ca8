"""p4lang/tutorials' exercises, their solutions run with real traffic on a v1model switch: see `__main__`."""
