"""GPUs that are shared below a training on the simulated network: `holders.py`."""
