"""The same through Hugging Face accelerate, which makes the DistributedDataParallel itself.

esa launch --nproc 2 experiments/examples/accelerate_train.py
"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import esa.torch

accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
model, optimiser, loader = accelerator.prepare(model, optimiser, DataLoader(data, batch_size=128, shuffle=True))
esa.torch.attach(model)

for _ in range(3):
    for images, labels in loader:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        accelerator.backward(loss)
        optimiser.step()
accelerator.print(f"loss {loss.item():.3f}")
