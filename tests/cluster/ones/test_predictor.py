"""ONES' predictor against torch: the same network, likelihood and optimiser, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esa.cluster.ones.predictor import BATCH, DECAY, FEATURES, RATE, UNLEARNED, Net, Record, descend, drawn, fitted
from esa.cluster.ones.throughput import FLOOR, Seen

torch = pytest.importorskip("torch")


@pytest.mark.slow
@pytest.mark.parametrize("crossed", [False, True])
def test_it_learns_as_torch_does(crossed: bool) -> None:
    dice = np.random.Generator(np.random.PCG64(5))
    of, epochs, part = dice.normal(size=(20, FEATURES)), dice.uniform(1, 30, 20), dice.uniform(0.05, 0.95, 20)
    order = np.array([dice.permutation(20) for _ in range(4)])
    net = drawn(dice)
    hidden, output = torch.nn.Linear(FEATURES, 64).double(), torch.nn.Linear(64, 1).double()
    with torch.no_grad():
        hidden.weight.copy_(torch.from_numpy(net.hidden[:, :FEATURES]))
        hidden.bias.copy_(torch.from_numpy(net.hidden[:, FEATURES]))
        output.weight.copy_(torch.from_numpy(net.out[None, :-1]))
        output.bias.copy_(torch.from_numpy(net.out[-1:]))
    by_torch = torch.optim.Adam([*hidden.parameters(), *output.parameters()], RATE, weight_decay=DECAY)

    def b(inputs: np.ndarray) -> torch.Tensor:
        return 1 + torch.relu(output(torch.tanh(hidden(torch.from_numpy(inputs)))))

    for through in order:
        for k in (through[at : at + BATCH] for at in range(0, 20, BATCH)):
            a, rho = torch.from_numpy(epochs[k]), torch.from_numpy(part[k])[:, None]
            likelihood = torch.distributions.Beta(a if crossed else a[:, None], b(of[k])).log_prob(rho)
            by_torch.zero_grad()
            (-likelihood).mean().backward()
            by_torch.step()
    descend(net.hidden, net.out, of, epochs, part, order, crossed)
    assert np.abs(net.b(of) - b(of).detach().numpy()[:, 0]).max() < 1e-9
    assert np.abs(net.hidden[:, :FEATURES] - hidden.weight.detach().numpy()).max() < 1e-9


def test_the_same_seed_learns_the_same_and_b_is_1_at_least() -> None:
    records = [Record((9.0, 2.3, float(k), k / 40, k / 50), float(k), k / 40) for k in range(1, 40)]
    one, other = fitted(records, (1, 2)), fitted(records, (1, 2))
    assert all((mine == yours).all() for mine, yours in zip(one, other, strict=True))
    assert not (fitted(records, (1, 3)).out == one.out).all()
    of = np.array([record.features for record in records])
    assert (one.b(of) >= 1).all()
    assert (UNLEARNED.b(of) == 1).all()
    assert fitted([], (1, 2)) is UNLEARNED


def test_what_it_has_learned_makes_its_records_likelier() -> None:
    """All jobs end after 20 epochs: b is what is left of them, plus what the network cannot tell yet."""
    records = [Record((9.0, 2.3, float(k), 0.0, 0.0), float(k), k / 20) for k in range(1, 20)] * 20

    def loss(net: Net) -> float:
        b = net.b(np.array([record.features for record in records]))
        return -sum(
            math.lgamma(r.epochs + x) - math.lgamma(r.epochs) - math.lgamma(x)
            + (r.epochs - 1) * math.log(r.part) + (x - 1) * math.log1p(-r.part)
            for r, x in zip(records, b, strict=True)
        )  # fmt: skip

    seeds = [(1, k) for k in range(4)]
    assert sum(loss(fitted(records, seed)) < loss(UNLEARNED) for seed in seeds) >= 2


def test_throughput_is_linear_between_what_was_seen_and_beyond() -> None:
    seen = Seen(16)
    seen.add(2, 100.0, 1)
    assert seen.table[[1, 2, 8]].tolist() == [50, 100, 400]
    seen.add(4, 120.0, 1)
    assert seen.table[[1, 3, 4, 8]].tolist() == [50, 110, 120, 160]
    seen.add(8, 60.0, 1)
    assert seen.table[[6, 16]].tolist() == [90, FLOOR * 60]
    seen.add(2, 200.0, 4)
    assert seen.table[2] == 180  # the last five
