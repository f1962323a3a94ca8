"""What ONES' rules leave of a job's execution on an idle cluster."""

from __future__ import annotations

import pytest

from esa.laboratory.inputs.ones_trace import KINDS
from experiments.laboratory.ones_alone import alone_s, line, mean_s

# 100 samples a second on a GPU, n times as many on n; on four, the batch does not grow further.
LINEAR = KINDS[0]._replace(batch=10, largest=40, gpus=1, rate=100.0, gradients=0)


def test_gpus_double_with_every_epoch_up_to_the_cluster() -> None:
    assert [LINEAR.samples_per_s(gpus) for gpus in (1, 4, 8)] == pytest.approx([100, 400, 800])
    assert alone_s(LINEAR, 100, 100, 64) == pytest.approx(1)
    assert alone_s(LINEAR, 100, 350, 64) == pytest.approx(1 + 1 / 2 + 1 / 4 + 0.5 / 8)
    assert alone_s(LINEAR, 100, 350, 2) == pytest.approx(1 + 2.5 / 2)


def test_more_gpus_than_do_good_are_not_taken() -> None:
    slow = LINEAR._replace(gradients=10**9)
    assert slow.samples_per_s(2) < slow.samples_per_s(1)
    assert alone_s(slow, 100, 350, 2) == pytest.approx(3.5)


def test_the_mean_is_over_kinds_in_turn_and_their_lengths() -> None:
    twice = LINEAR._replace(lengths=((100, 100), (100, 200)))
    assert mean_s([twice], 1, jobs=3) == pytest.approx((10 + 1.5, 10 + 1.5))
    assert line("published", 64).startswith("published: a job alone on 64 GPUs")
