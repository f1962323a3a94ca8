"""The process group's runs: of three ranks, one after the other, of a rank that dies, of a transport that is given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from esa.errors import BadInput, JoinError, MemberLeft
from esa.torch import EsaGroup, EsaOptions, EsaWarning
from tests.hosts.rig import Meeting
from tests.torch.backend.groups import (
    AVG,
    LIMIT,
    WORKERS,
    assert_near,
    init,
    job_of,
    network,
    reduce_scatter_single,
    values,
)
from tests.torch.gloo_transport import GlooTransport
from tests.torch.ranks import run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # on a machine that has compiled nothing yet

AT_ONCE_S = 20.0  # before anybody is given up, after 30 s


def sums_over_three_ranks(rank: int) -> None:
    group = init(rank, 3, "esa")
    mine = values(rank, 1000)
    dist.all_reduce(mine)
    assert_near(mine, sum((values(r, 1000) for r in range(3)), torch.zeros(())))
    parts = [values(rank, n, seed=n) for n in (4, 5, 6)]  # gloo would refuse parts of several sizes
    part = torch.empty_like(parts[rank])
    dist.reduce_scatter(part, parts)
    n = 4 + rank
    assert_near(part, sum((values(r, n, seed=n) for r in range(3)), torch.zeros(())))
    pair = dist.new_group([0, 2], timeout=LIMIT)
    if rank != 1:
        assert isinstance(pair, EsaGroup)
        pairs = values(rank, 50)
        with pytest.warns(EsaWarning, match="all_reduce of 50 values: 2 ranks that are not exactly the job's"):
            dist.all_reduce(pairs, group=pair)
        assert_near(pairs, values(0, 50) + values(2, 50))
        part = torch.empty(25)
        reduce_scatter_single(part, values(rank, 50), group=pair)
        assert_near(part, (values(0, 50) + values(2, 50)).split(25)[rank // 2])
        assert pair.statistics.detours == Counter(group=2)
    assert group.statistics.sums == 2
    assert not group.statistics.detours
    dist.destroy_process_group()


def test_three_ranks_and_a_pair_of_them(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path, 3) as environment:
        run_ranks(3, sums_over_three_ranks, environment=environment)


def trained_twice(rank: int) -> None:
    epochs = []
    place = os.environ["RENDEZVOUS"]
    with pytest.raises(JoinError, match="has 2 workers, the program's world 1"):
        dist.init_process_group("esa", init_method=f"{place}-alone-{rank}", rank=0, world_size=1)
    for attempt in range(2):
        os.environ["RENDEZVOUS"] = f"{place}{attempt}"
        group = init(rank)
        epochs.append(group.transport.job.epoch)  # type: ignore[union-attr]
        mine = values(rank, 100)
        dist.all_reduce(mine)
        assert_near(mine, values(0, 100) + values(1, 100))
        started = time.monotonic()
        dist.destroy_process_group()
        assert time.monotonic() - started < AT_ONCE_S
    assert epochs[0] != epochs[1]
    os.environ["RENDEZVOUS"] = place
    init(rank)
    dist.all_reduce(torch.ones(10))


def test_groups_come_and_go_each_a_run_of_its_own(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path) as environment:
        run_ranks(WORKERS, trained_twice, environment=environment)


def left_alone(rank: int, end: str) -> str:
    init(rank)
    dist.all_reduce(torch.ones(10))
    model = DistributedDataParallel(network())
    loss = model(values(rank, 4, 8)).sum()
    if rank == 1:
        if end == "killed":
            os._exit(0)
        try:
            raise ZeroDivisionError("of no use")
        except ZeroDivisionError:
            dist.destroy_process_group()
        return ""
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="MemberLeft") as caught:
        loss.backward()
    assert time.monotonic() - started < AT_ONCE_S
    for work in (dist.all_reduce(torch.ones(10), async_op=True), dist.all_reduce(torch.ones(3), async_op=True)):
        assert work is not None
        with pytest.raises(MemberLeft, match="has ended"):
            work.wait()
        assert isinstance(work.exception(), MemberLeft)
        assert not work.is_success()
        with pytest.raises(RuntimeError, match="MemberLeft"):
            work.get_future().wait()
    del model, loss
    dist.destroy_process_group()
    assert time.monotonic() - started < AT_ONCE_S
    return str(caught.value)


def test_an_error_of_one_rank_ends_the_others_sums_at_once(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path) as environment:
        said, _ = run_ranks(WORKERS, left_alone, "error", environment=environment)
    assert "rank 1 (127." in said
    assert "has ended: ZeroDivisionError: of no use" in said


def test_a_killed_rank_ends_the_others_sums_at_once(meeting: Meeting, tmp_path: Path) -> None:
    with job_of(meeting, tmp_path) as environment, pytest.raises(AssertionError) as caught:
        run_ranks(WORKERS, left_alone, "killed", environment=environment)
    assert str(caught.value).strip() == "rank 1: it ended with 0"


def without_a_job(rank: int) -> None:
    with pytest.raises(BadInput, match="job: not known: give the path of its file, or set ESA_JOB"):
        init(rank)
    place = os.environ["RENDEZVOUS"]
    dist.init_process_group("gloo", init_method=f"{place}-gloo", rank=rank, world_size=WORKERS, timeout=LIMIT)
    transport = GlooTransport()
    group = dist.new_group(backend="esa", pg_options=EsaOptions(transport, priority=7), timeout=LIMIT)
    assert isinstance(group, EsaGroup)
    mine = values(rank, 300)
    dist.all_reduce(mine, AVG, group=group)
    assert_near(mine, (values(0, 300) + values(1, 300)) / 2)
    assert {submission.priority for submission in transport.submissions} == {7}
    dist.destroy_process_group(group)
    assert not transport.closed
    transport.close()
    dist.destroy_process_group()


def test_a_transport_may_be_given_instead_of_a_job(tmp_path: Path) -> None:
    run_ranks(WORKERS, without_a_job, environment={"RENDEZVOUS": f"file://{tmp_path}/rendezvous"})


def test_the_name_is_known_from_import_torch_on_and_costs_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    entry = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["torch.backends"]["esa"]
    installed = tmp_path / "esa_as_installed-1.dist-info"  # what installing the package leaves
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: esa-as-installed\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[torch.backends]\nesa = {entry}\n")
    code = (
        "import sys, torch, torch.distributed as dist\n"
        "assert dist.is_backend_available('esa'), dist.Backend.backend_list\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('esa', 'numba', 'grpc', 'pydantic')]\n"
        "assert sorted(loaded) == ['esa', 'esa.autoload', 'esa.exports'], loaded\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, timeout=60, check=True)
