"""What `again.py` runs again and again: a small model with DistributedDataParallel, the same every time.

esa launch --nproc 2 experiments/studies/again_train.py WEIGHTS.npy --iterations 20
"""

import argparse
import atexit
import os
import time

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import esa.torch

atexit.register(print, "stopped", flush=True)  # the first to be registered runs last
parser = argparse.ArgumentParser()
parser.add_argument("weights", help="where rank 0 writes them at the end: all of them, float32")
parser.add_argument("--iterations", type=int, default=20)
parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="after each iteration")
parser.add_argument("--straggler", type=float, default=0.0, metavar="SECONDS", help="by which the last rank is later")
parser.add_argument("--gloo", action="store_true", help="gradients are summed by gloo, not by the switch")
options = parser.parse_args()

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
if not options.gloo:
    esa.torch.attach(model)

draw = torch.Generator().manual_seed(rank)  # every rank has its own part
images, labels = torch.randn(64, 64, generator=draw), torch.randint(10, (64,), generator=draw)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
print("training", os.getpid(), flush=True)
for _ in range(options.iterations):
    if rank == size - 1:
        time.sleep(options.straggler)
    optimiser.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimiser.step()
    time.sleep(options.pause)
if rank == 0:
    np.save(options.weights, torch.cat([each.detach().flatten() for each in model.parameters()]).numpy())
