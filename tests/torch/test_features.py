"""What people do with DistributedDataParallel does the same through `esa.torch`: each case a test, in real processes.

Runs, PS and protocol are the real ones, without a network (`tests/hosts/rig.py`). The cases are those of
`tests/torch/features`; they share a switch, three jobs and three processes, which take longer to begin than most cases
take to run.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import pytest
import torch

from esa.job import Job
from tests.torch.cases import CASES, Ranks, chosen, save
from tests.torch.features import frameworks, loops, on_gpu, precision, sessions  # noqa: F401  their cases


def _jobs() -> dict[str, Job]:
    from tests.hosts.rig import make_loopback_job

    def moved(job: Job, *workers: int) -> Job:
        """To another host, which does not exist (RFC 5737)."""
        members = [
            {**member.model_dump(), **({"ip": f"192.0.2.{k}"} if k in workers else {})}
            for k, member in enumerate(job.workers)
        ]
        return Job.model_validate(job.model_dump() | {"workers": members})

    pair = make_loopback_job(2)
    jobs = {
        "pair": pair,
        "three": make_loopback_job(3),
        "alone": make_loopback_job(1),
        "elsewhere": moved(make_loopback_job(2), 1),
    }
    return {**jobs, "nowhere": moved(pair, 0, 1)}


@pytest.fixture(scope="module")
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """All cases that were asked for have run."""
    from esa.hosts.serving import JobServer
    from tests.hosts.rig import Meeting

    folder, names = tmp_path_factory.mktemp("ranks"), [name for name in chosen(request) if not _missing(name)]
    jobs = _jobs()
    save(jobs, folder)
    with Meeting(folder) as meeting:
        for name in ("pair", "three", "alone", "elsewhere"):
            meeting.enter_context(JobServer(meeting.add(jobs[name]), meeting.address))
        size = max(CASES[name].size for name in names)
        yield Ranks(__name__, names, size, folder, {"ESA_CONTROLLER": meeting.address})


def _missing(name: str) -> str:
    """What the case needs and is not here."""
    if name == "compiled_by_torch":
        return "" if shutil.which("g++") or shutil.which("clang++") else "a C++ compiler"
    if CASES[name].function.__module__ == on_gpu.__name__:
        return "" if torch.cuda.is_available() else "a GPU that torch can use"
    for package in ("accelerate", "lightning"):
        if package in name and importlib.util.find_spec(package) is None:
            return package
    return ""


@pytest.mark.slow
@pytest.mark.timeout(300)  # of the first, behind which all cases run
@pytest.mark.parametrize("name", CASES)
def test_in_real_processes(name: str, request: pytest.FixtureRequest) -> None:
    if missing := _missing(name):
        pytest.skip(f"needs {missing}")
    ranks: Ranks = request.getfixturevalue("ranks")
    print(ranks.figures(name))
    failures = ranks.failures(name)
    assert not failures, "\n".join(failures)


@pytest.mark.slow
def test_the_processes_end_by_themselves(ranks: Ranks) -> None:
    assert not ranks.endings()
