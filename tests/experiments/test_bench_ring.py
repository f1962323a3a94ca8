"""The simulator's ring beside gloo's: the same sum over the same links, on Mininet and in virtual time."""

from __future__ import annotations

import pytest

from experiments.studies.bench.allreduce import Setting
from experiments.studies.bench.ring import compare, simulated

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

SETTING = Setting(workers=4, mbps=20.0, values=1 << 20, gloo=True, repeats=2)  # 4 MiB, 2.7 s each


def test_a_simulated_ring_takes_what_its_bytes_take_of_the_links() -> None:
    bits = 2 * 3 / 4 * 4 * SETTING.values * 8
    assert 1.03 * bits / 20e6 < simulated(SETTING) < 1.10 * bits / 20e6  # headers, and the neighbour's acknowledgements


@pytest.mark.slow
def test_a_simulated_ring_takes_as_long_as_gloo_on_mininet(root: None) -> None:
    gloo_s, ring_s = compare(SETTING)
    assert ring_s == pytest.approx(gloo_s, rel=0.10)
