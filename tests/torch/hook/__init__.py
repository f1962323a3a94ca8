"""Cases of the DDP hook, which `test_hook.py` runs in processes that they share."""
