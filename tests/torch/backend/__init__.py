"""Cases of the process group, which `test_backend.py` runs in ranks that they share."""
