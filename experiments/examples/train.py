"""Handwritten digits with DistributedDataParallel; gradients are summed by the switch. One line is ESA's.

esa launch --nproc 4 experiments/examples/train.py
"""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import esa.torch

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.data / 16, dtype=torch.float32)[rank::size]  # every rank has its own part
labels = torch.tensor(digits.target)[rank::size]

model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
esa.torch.attach(model)  # this one

optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(60):
    optimiser.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimiser.step()
accuracy = (model(images).argmax(1) == labels).float().mean()
print(f"loss {loss.item():.3f}, accuracy {accuracy.item():.3f}")
