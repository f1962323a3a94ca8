"""The rules beside FIKIT, and what holds under every one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esa.errors import BadInput
from esa.gpu import NAMES, Task, fifo, measure, orion_like, reef_like, share, time_slice, xsched_like
from esa.gpu.kernels import COMPUTE, MEMORY
from esa.gpu.rules import RULES
from tests.effort import tries
from tests.gpu.tasks import crowds, task

pytestmark = pytest.mark.timeout(300)  # the first one compiles the device


def starts(tasks: list[Task], rule: object, rows: int = 99) -> list[tuple[int, int]]:
    """(task, when each kernel began), in their order."""
    return [(int(row[0]), int(row[3])) for row in share(tasks, rule, log=rows).log]


@settings(max_examples=tries(60), deadline=None)
@given(crowds(), st.sampled_from(NAMES), st.floats(0, 0.3), st.integers(0, 99))
def test_every_kernel_runs_once_in_order_and_the_device_runs_one(
    crowd: list[Task], name: str, scatter: float, seed: int
) -> None:
    found = share([measure(one, 2) for one in crowd], RULES[name](), scatter=scatter, seed=seed, log=999)
    assert found.incomplete is None
    for number, one in enumerate(crowd):
        mine = found.log[found.log[:, 0] == number]
        assert mine[:, 1].tolist() == list(range(one.requests * len(one.launches.kernels)))
        assert (mine[:, 3] >= mine[:, 2]).all()
    assert (found.log[1:, 3] >= found.log[:-1, 4]).all()
    busy = int((found.log[:, 4] - found.log[:, 3]).sum())
    assert busy + found.idle_ns + found.switch_ns + found.wasted_ns == found.elapsed_ns
    assert found.log[-1, 4] == found.elapsed_ns


def test_slices_go_round_to_the_end_of_the_kernel_and_idle_tasks_pass_them_on() -> None:
    one = task("one", 0, [40] * 4, [0] * 4, waits=[False] * 4)
    other = task("other", 0, [40] * 3, [0] * 3, waits=[False] * 3)
    found = starts([one, other], time_slice(slice_ns=70, switch_ns=5))
    assert found == [(0, 0), (0, 40), (1, 85), (1, 125), (0, 170), (0, 210), (1, 255)]
    # A task that launches when its last kernel is through loses the rest of its slice, and waits for all of another's.
    waiting = task("one", 0, [10] * 3, [10] * 3)
    found = starts([waiting, replace(other, requests=2)], time_slice(slice_ns=70, switch_ns=5))
    assert [begin for number, begin in found if number == 0] == [85, 185, 285]


def test_a_queue_that_is_ready_holds_back_those_below_but_not_what_they_sent() -> None:
    high = replace(task("high", 0, [10], [0]), start_ns=5)
    low = task("low", 5, [20] * 5, [0] * 5, waits=[False] * 5)
    assert starts([high, low], xsched_like(3))[:5] == [(1, 0), (1, 20), (1, 40), (0, 60), (1, 70)]
    assert starts([high, low], xsched_like(1))[:3] == [(1, 0), (0, 20), (1, 30)]


def test_a_reset_stops_what_runs_and_it_begins_anew() -> None:
    high = replace(task("high", 0, [10], [0]), start_ns=15)
    low = task("low", 5, [20] * 2, [0] * 2, waits=[False] * 2)
    found = share([high, low], reef_like(reset_ns=4), log=9)
    assert [(int(row[0]), int(row[3])) for row in found.log] == [(0, 19), (1, 29), (1, 49)]
    assert (found.wasted_ns, found.switch_ns) == (15, 4)


def test_beside_the_high_priority_only_other_profiles_on_free_sms_pass() -> None:
    def low(profile: int, sms: int) -> Task:
        one = replace(task("low", 5, [20] * 2, [0] * 2, waits=[False] * 2), start_ns=5)
        kernels = replace(one.launches.kernels, profile=one.launches.kernels.profile * 0 + profile)
        kernels = replace(kernels, sms=kernels.sms * 0 + sms)
        return replace(one, launches=one.launches._replace(kernels=kernels))

    high = task("high", 0, [50, 50], [0, 10])
    kernels = replace(high.launches.kernels, profile=high.launches.kernels.profile * 0 + COMPUTE)
    high = replace(high, launches=high.launches._replace(kernels=kernels))
    rule = orion_like(most_sms=80, most_ns=10**6)
    assert starts([high, low(MEMORY, 40)], rule) == [(0, 0), (1, 50), (1, 70), (0, 90)]
    assert starts([high, low(MEMORY, 41)], rule) == [(0, 0), (1, 50), (0, 70), (1, 120)]  # two do not fit at once
    assert starts([high, low(COMPUTE, 1)], rule) == [(0, 0), (0, 60), (1, 110), (1, 130)]  # after its request
    assert starts([high, low(MEMORY, 1)], orion_like(80, 1)) == [(0, 0), (1, 50), (0, 70), (1, 120)]


def test_what_cannot_run_is_refused_by_name() -> None:
    one = task("one", 0, [10], [1])
    for tasks, problem in (
        ([], "tasks: 0; allowed: 1 to 64"),
        ([one, one], "tasks: two of name 'one'"),
        ([replace(one, background=True)], "tasks: all in the background"),
        ([replace(one, priority=10)], "task one: priority: 10; allowed: 0, the highest, to 9"),
        ([replace(one, requests=0)], "task one: requests: 0; allowed: 1 and more"),
        ([replace(one, think_ns=-1)], "task one: think_ns: -1; allowed: 0 to"),
        ([replace(one, arrivals_ns=(1, 2))], "task one: arrivals_ns: 2; allowed: 1, one for each request"),
        ([replace(one, requests=2, arrivals_ns=(2, 1))], "task one: arrivals_ns: not in the order of time"),
    ):
        with pytest.raises(BadInput, match=problem):
            share(tasks, fifo())
    with pytest.raises(BadInput, match="rule: slice_ns: -1; allowed: 0 and more"):
        share([one], time_slice(-1))
    with pytest.raises(BadInput, match="scatter: 2; allowed: 0 to 1"):
        share([one], fifo(), scatter=2)
    with pytest.raises(BadInput, match="by: 'name'; allowed: identity, position"):
        measure(one, by="name")


def test_a_run_that_would_not_end_is_cut_and_says_so() -> None:
    high = replace(task("high", 0, [10], [0], waits=[False]), background=True)
    low = task("low", 5, [10, 10], [1, 1])
    found = share([high, low], RULES["exclusive"](), most_kernels=100)
    assert found.incomplete == "ended after 100 kernels"
    assert found.task("low").mean_jct_ns is None
