"""The simulator's ring beside gloo's: the same sum over the same links, on Mininet and in virtual time."""

from __future__ import annotations

import pytest

from experiments.studies.bench.allreduce import Setting
from experiments.studies.bench.ranks import Rack
from experiments.studies.bench.ring import compare, simulated

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

SETTING = Setting(Rack(4, 20.0, gloo=True), values=1 << 20, repeats=2, warm_up=0)  # 4 MiB, 2.7 s each


def test_a_simulated_ring_takes_what_its_bytes_take_of_the_links() -> None:
    bits = 2 * 3 / 4 * 4 * SETTING.values * 8
    assert 1.03 * bits / 20e6 < simulated(SETTING) < 1.10 * bits / 20e6  # headers, and the neighbour's acknowledgements


@pytest.mark.slow
def test_gloo_on_mininet_is_not_faster_than_the_simulated_ring(root: None) -> None:
    # On a machine that is free they are within 10 % (`python -m experiments.studies.bench.ring`); where others compute,
    # too, gloo takes longer, however well it is simulated.
    gloo_s, ring_s = compare(SETTING)
    assert gloo_s > 0.9 * ring_s
