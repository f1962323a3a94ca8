"""Inference on the simulated network: collectives and messages of its iterations, beside training jobs."""
