"""The process group: ranks are processes, the switch's entries and the PS are real, packets take the loopback.

The cases are those of `tests/torch/backend`; they share a run of one job, whose ranks take longer to begin than most
cases take.
"""

from __future__ import annotations

import time
import traceback
import warnings

import pytest
import torch.distributed as dist

from tests.hosts.rig import Meeting
from tests.torch.backend import detours, sums, training  # noqa: F401  their cases
from tests.torch.backend.groups import CASES, WORKERS, init, job_of
from tests.torch.ranks import run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # on a machine that has compiled nothing yet


def run_cases(rank: int) -> dict[str, str]:
    """By name, the traceback of each case that failed; they share one run, so those after it may fail for it."""
    init(rank)
    failed = {}
    for name, function in CASES.items():
        started = time.monotonic()
        with warnings.catch_warnings():
            try:
                function(rank)
            except BaseException:
                failed[name] = f"after {time.monotonic() - started:.1f} s: {traceback.format_exc()}"
    dist.destroy_process_group()
    return failed


@pytest.fixture(scope="module")
def failed_cases(meeting: Meeting, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("cases")
    with job_of(meeting, folder) as environment:
        failed: list[dict[str, str]] = run_ranks(WORKERS, run_cases, environment=environment)
    return failed


@pytest.mark.parametrize("name", CASES)
def test_on_two_ranks(name: str, failed_cases: list[dict[str, str]]) -> None:
    failures = [f"rank {rank}: {failed[name]}" for rank, failed in enumerate(failed_cases) if name in failed]
    assert not failures, "\n".join(failures)
