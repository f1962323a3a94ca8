"""Sums of NumPy arrays over the switch, without PyTorch: every rank gets the same bits.

esa launch --nproc 2 experiments/examples/all_reduce.py
"""

import os

import numpy as np

from esa.float_sum import all_reduce_float
from esa.hosts import join
from esa.job import Job

with join(Job.load(os.environ["ESA_JOB"])) as worker:  # which worker this is follows from this host's address
    mine = np.full(1000, 0.1 * (worker.rank + 1), np.float32)
    means = all_reduce_float(worker, mine, average=True)
    print(f"rank {worker.rank} of {worker.size}: {means[0]:.4f} and {len(means) - 1} more")
