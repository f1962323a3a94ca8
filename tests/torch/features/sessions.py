"""Sessions: how ranks find, join, leave and miss one another."""

from __future__ import annotations

import os
import pickle
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import esa.torch
from esa.errors import JoinError
from esa.hosts import WorkerEndpoint, join
from esa.job import Job
from esa.net import open_udp_socket
from esa.torch import EsaState, Session, esa_hook
from tests.torch.cases import STRAGGLER_S, begin_world, case, job_file
from tests.torch.features.comparing import CLOSE, compare, distance, flat, network, same_on_all_ranks, train, wrapped


@case(within=CLOSE)
def a_state_from_a_checkpoint_goes_on_in_a_second_run(rank: int) -> float:
    def saved(ddp: DistributedDataParallel, state: EsaState | None) -> bytes:
        return pickle.dumps({"weights": ddp.module.state_dict(), "state": state})

    ended, epochs = [], []
    for ours in (False, True):
        torch.manual_seed(0)
        ddp, state = wrapped(network()), None
        with ExitStack() as stack:
            if ours:
                session = stack.enter_context(esa.torch.session(quiet=True))
                epochs.append(session.worker.job.epoch)
                state, hook = session.hook(ddp, total_iterations=99)
                ddp.register_comm_hook(state, hook)
            train(ddp, 3)
            kept = saved(ddp, state)
        found = pickle.loads(kept)
        ddp = wrapped(network())
        ddp.module.load_state_dict(found["weights"])
        if ours:
            session = stack.enter_context(esa.torch.session(quiet=True))
            epochs.append(session.worker.job.epoch)
            again = session.state(ddp, restored=found["state"])
            ddp.register_comm_hook(again, esa_hook)
            assert again.total_iterations == 99
        train(ddp, 3)
        ended.append(flat(ddp))
        if ours:
            assert again.statistics.iterations == 6
            assert 0 < session.traffic.repeated < again.statistics.repeated_fragments
            with pytest.raises(ValueError, match="fraction_bits: a restored state keeps its own settings"):
                session.state(restored=found["state"], fraction_bits=3)
            session.close()
    assert epochs[0] < epochs[1]
    return distance(ended[1], ended[0])


@case(within=CLOSE)
def a_process_group_made_anew(rank: int) -> float:
    """Without a word to ESA in between: the session of the first is ended, the job runs again."""
    ended, epochs = [], []
    for ours in (False, True):
        torch.manual_seed(0)
        model = network()
        for phase in range(2):
            dist.destroy_process_group()
            begin_world(f"anew-{ours}-{phase}", rank, 2)
            ddp = wrapped(model)
            if ours:
                esa.torch.attach(ddp, quiet=True)
                epochs.append(esa.torch.attached().worker.job.epoch)
            train(ddp, 3)
            assert same_on_all_ranks(ddp)
        ended.append(flat(model))
    assert epochs[0] < epochs[1]
    return distance(ended[1], ended[0])


@case(within=CLOSE)
def a_straggler_is_waited_for(rank: int) -> float:
    def late(ddp: DistributedDataParallel) -> None:
        train(ddp, 2)
        if rank == 1 and ddp._comm_hooks:
            time.sleep(STRAGGLER_S)
        train(ddp, 2)

    return compare(late)


@case(within=CLOSE)
def ranks_in_another_order_than_the_jobs(rank: int) -> float:
    """As on hosts whose ranks were given out in another order: rank 0 is the job's worker 1."""
    ended = []
    for ours in (False, True):
        torch.manual_seed(0)
        ddp = wrapped(network())
        with ExitStack() as stack:
            if ours:
                job = Job.load(os.environ["ESA_JOB"])
                assert dist.group.WORLD is not None
                worker = join(job, rank=1 - rank, size=2)
                assert worker.rank == 1 - rank
                session = stack.enter_context(Session(job, worker, dist.group.WORLD, quiet=True))
                ddp.register_comm_hook(*session.hook(ddp))
            train(ddp)
            assert same_on_all_ranks(ddp)
        ended.append(flat(ddp))
    return distance(ended[1], ended[0])


@case()
def settings_that_differ_between_ranks(rank: int) -> None:
    ddp = wrapped(network())
    with pytest.raises(ValueError, match=r"^quantisation has to be the same on all ranks: ") as differing:
        esa.torch.attach(ddp, quiet=True, quantisation="fixed" if rank == 0 else "adaptive")
    assert "adaptive, 64 lanes to a fragment on rank 1; fixed with 20 fraction bits, " in str(differing.value)
    assert "\n" not in str(differing.value)
    with pytest.raises(ValueError, match=r"fixed with 11 fraction bits, 64 .* on rank 1; fixed with 12 .* on rank 0"):
        esa.torch.attach(ddp, quantisation="fixed", fraction_bits=12 - rank)
    with pytest.raises(ValueError, match=r"^rank 1 \(.*\): fraction_bits: 99 is not in -64..64$"):
        esa.torch.attach(ddp, fraction_bits=99 if rank == 1 else 9)
    state = esa.torch.attach(ddp, quantisation="fixed", fraction_bits=24)
    assert (state.quantisation, state.fraction_bits) == ("fixed", 24)
    train(ddp, 1)


@case()
def a_model_that_only_one_rank_cannot_send(rank: int) -> None:
    with esa.torch.session(quiet=True) as session:
        with pytest.raises(TypeError, match=r"^rank 1 \(.*\): the model: Embedding\(sparse=True\)"):
            session.hook(nn.Embedding(4, 2, sparse=rank == 1))
        ddp = wrapped(network())
        ddp.register_comm_hook(*session.hook(ddp))
        train(ddp, 1)


def refused(error: type[Exception], match: str) -> None:
    for attempt in (lambda: esa.torch.attach(wrapped(network())), esa.torch.session):
        start = time.monotonic()
        with pytest.raises(error, match=match) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert time.monotonic() - start < 20


@case(job="three")
def a_job_of_three_in_a_world_of_two(rank: int) -> None:
    refused(JoinError, "^all ranks: job .* has 3 workers, the process group 2: ")


@case(job="elsewhere")
def a_rank_whose_address_is_another_hosts(rank: int) -> None:
    """The job has one worker here and one on another host; both ranks run here."""
    refused(JoinError, r"rank [01] \(.*\): job .*: 127\..*:20000 is in use on this host: another rank")


@case()
def a_rank_that_cannot_join_before_the_other_has_come(rank: int) -> None:
    """What it told the coordinator then, the other would never hear."""
    job = Job.load(os.environ["ESA_JOB"])
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        if rank == 0:

            def late(*arguments: Any, **settings: Any) -> WorkerEndpoint:
                time.sleep(2)
                return join(*arguments, **settings)

            patch.setattr(esa.hosts, "join", late)
        else:
            taken = [stack.enter_context(open_udp_socket((str(w.ip), w.udp_port))) for w in job.workers]
            threading.Timer(1, taken[0].close).start()
        start = time.monotonic()
        with pytest.raises(JoinError, match=r"rank 1 \(.*\): job .*:20000 are in use on this host"):
            esa.torch.attach(wrapped(network()))
        assert time.monotonic() - start < 20


@case()
def a_rank_that_has_another_jobs_file(rank: int) -> None:
    if rank == 1:
        os.environ["ESA_JOB"] = job_file("nowhere")
    refused(JoinError, r"^the job has to be the same on all ranks: j\d+ \(number \d+, 2 workers, digest .*; j\d+ \(")


@case()
def a_rank_without_a_job(rank: int) -> None:
    if rank == 1:
        del os.environ["ESA_JOB"]
    refused(JoinError, r"^rank 1 \(.*\): job: not known: give the path of its file, or set ESA_JOB")


@case(size=3)
def a_world_larger_than_the_job(rank: int) -> None:
    refused(JoinError, "^all ranks: job .* has 2 workers, the process group 3: give as process_group the group of")


@case(size=3, within=CLOSE)
def two_of_three_ranks_are_the_job(rank: int) -> float:
    group = dist.new_group([0, 2])
    ended = [torch.ones(1), torch.ones(1)]
    if rank != 1:
        for k, ours in enumerate((False, True)):
            torch.manual_seed(0)
            ddp = wrapped(network(), process_group=group)
            if ours:
                esa.torch.attach(ddp, quiet=True)
            train(ddp)
            ended[k] = flat(ddp)
        lone = dist.new_group([rank], use_local_synchronization=True)
        with pytest.raises(ValueError, match=r"group has ranks \[[02]\], the session's \[0, 2\]: a process takes part"):
            esa.torch.attach(wrapped(network(), process_group=lone))
    return distance(ended[1], ended[0])


@case(size=3, job="three", within=CLOSE)
def three_ranks(rank: int) -> float:
    return compare(train)
