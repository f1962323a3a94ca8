"""Who runs where: what a cluster is made of, and schedulers, which decide about it. Knows nothing of how jobs run."""
