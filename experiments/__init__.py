"""Scenarios, the run, the command line `esa`; one small file per experiment."""
