"""What people do with DistributedDataParallel, as cases that `test_features.py` runs in ranks that they share."""
