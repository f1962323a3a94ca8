"""Ranks and their programs, reckoned by hand: what they wait for, when they go on, when they are through."""

from __future__ import annotations

import numpy as np
import pytest

from esa.sim import Outcome, SimulatedJob, simulate
from esa.workloads.program import compute, loop, mark, program, reduce, send, wait
from tests.sim.plans import DELAY_NS, FRAGMENT_BYTES, PACKET_NS, job, ns, only_job, plan, rack

pytestmark = pytest.mark.timeout(300)  # the first simulation compiles the event loop

ANSWER_NS = 2 * DELAY_NS + PACKET_NS  # from a packet's leaving its worker to its result


def of(*programs, **given) -> SimulatedJob:
    return job(workers=len(programs), programs=programs, **{"window": 256, **given})


def run(*jobs: SimulatedJob) -> Outcome:
    outcome = simulate(plan(*jobs, fabric=rack(8)))
    assert outcome.incomplete is None
    return outcome


def sum_ns(fragments: int) -> int:
    return fragments * PACKET_NS + ANSWER_NS


def part(fragments: int, priority: int = 9):
    return reduce(fragments * FRAGMENT_BYTES, priority)


def test_a_sum_is_under_way_while_its_rank_computes() -> None:
    outcome = run(of(program(part(10), mark(1), compute(500), mark(2), wait(), mark(3), compute(40_000), mark(4))))
    assert outcome.marks_ns == {"job": (((1, 0), (2, 500), (3, sum_ns(10)), (4, sum_ns(10) + 40_000)),)}
    result = only_job(outcome)
    assert (ns(result.jct_s), ns(result.compute_s), ns(result.comm_s)) == (sum_ns(10) + 40_000, 40_500, sum_ns(10))
    assert result.iterations == 4


def test_it_waits_for_all_but_the_last_sums() -> None:
    three = (part(10), part(20), part(30))
    outcome = run(of(program(*three, wait(3), mark(3), wait(2), mark(2), wait(1), mark(1), wait(), mark(0))))
    came = [sum_ns(n) for n in (10, 30, 60)]
    assert outcome.marks_ns["job"][0] == ((3, 0), *zip((2, 1, 0), came, strict=True))


def test_as_many_sums_are_under_way_as_there_are_such_operations() -> None:
    """The second and third round's sum wait for the one before; nothing says so but the program's size."""
    outcome = run(of(program(loop(3, part(10), mark()))))
    begun = [at for _, at in outcome.marks_ns["job"][0]]
    assert begun == [0, sum_ns(10), 2 * sum_ns(10)]
    assert ns(only_job(outcome).jct_s) == 3 * sum_ns(10)


def test_a_job_that_only_computes_is_over_when_its_slowest_rank_is() -> None:
    pace = np.array([1.0, 3.0, 0.5])
    outcome = run(of(program(loop(3, compute(1_000)), pace=pace), program(compute(10)), program(mark())))
    assert ns(only_job(outcome).jct_s) == 4_500
    assert ns(only_job(outcome).compute_s) == round((4_500 + 10) / 3)


def test_a_job_that_takes_no_time_is_over_at_once_and_its_hosts_are_free() -> None:
    idle = of(program(mark()), program(compute(0)), name="idle", hosts=(0, 1, 2))
    busy = of(program(compute(100)), name="busy", hosts=(0, 1), submit_ns=50)
    assert [ns(result.jct_s) for result in run(idle, busy).jobs] == [0, 100]


def test_a_rank_that_is_ahead_waits_for_the_others_gradients() -> None:
    late = program(compute(5_000), part(4), wait(), mark())
    outcome = run(of(program(part(4), wait(), mark()), late))
    assert {at for marks in outcome.marks_ns["job"] for _, at in marks} == {5_000 + sum_ns(4)}


def test_programs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="job odd: programs: 1; allowed: 2, one of each worker"):
        run(job("odd", programs=(program(mark()),), workers=2))
    with pytest.raises(ValueError, match="job odd: programs: rank 1 begins other sums than rank 0"):
        run(of(program(part(1)), program(part(2)), name="odd"))
    with pytest.raises(ValueError, match="job odd: programs: rank 1 receives 0 messages 0; 1 are sent to it"):
        run(of(program(send(1, 4)), program(mark()), name="odd"))
