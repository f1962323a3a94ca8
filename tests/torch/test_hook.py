"""The DDP hook: three processes train over an exact sum, once for all cases, and each case is a test.

The transport here is a real one: int32 sums over a gloo group of its own. What a switch adds is tested elsewhere.

The cases are those of `tests/torch/hook`; they share three processes, which take longer to begin than most cases take
to run. Where there is a GPU, all of them run once more with models on it.
"""

from __future__ import annotations

import json
import os
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from esa.torch import EsaState, EsaWarning, Statistics, Timeline, check_model
from esa.transport import Transport
from tests.torch.gloo_transport import LIMIT_S, GlooTransport
from tests.torch.hook import states, sums  # noqa: F401  their cases
from tests.torch.hook.models import CASES, WORKERS, OneGradient, network
from tests.torch.ranks import CONTEXT


def work(rank: int, folder: str, device: str) -> None:
    """One worker process: all cases in order; after a failure the ranks may be out of step, so it is the last."""
    torch.set_default_device(device)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", EsaWarning)  # cases that are about them ask for them
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/store", rank=rank, world_size=WORKERS, timeout=timedelta(seconds=LIMIT_S)
    )
    report = Path(folder, f"{rank}.json")
    outcomes: dict[str, str] = {}
    for name, function in CASES.items():
        start = time.perf_counter()
        try:
            function(rank)
            dist.barrier()
            outcomes[name] = ""
        except BaseException:
            outcomes[name] = traceback.format_exc()
        print(f"rank {rank}: {name}: {time.perf_counter() - start:.2f} s", flush=True)
        report.write_text(json.dumps(outcomes))
        if outcomes[name]:
            return
    dist.destroy_process_group()


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=needs_gpu)])
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What went wrong, by rank and case; "" where nothing did. All ranks have one GPU, if any."""
    folder = tmp_path_factory.mktemp("ddp")
    workers = [CONTEXT.Process(target=work, args=(rank, str(folder), request.param)) for rank in range(WORKERS)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 100
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    endings = ["hung" if w.is_alive() else f"exit code {w.exitcode}" if w.exitcode else "" for w in workers]
    for worker in workers:
        worker.kill()
        worker.join()
    reports = [folder / f"{rank}.json" for rank in range(WORKERS)]
    found: list[dict[str, str]] = [json.loads(r.read_text()) if r.exists() else {} for r in reports]
    return [{**cases, "ended": ending} for cases, ending in zip(found, endings, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, "ended"])
def test_in_three_processes(name: str, outcomes: list[dict[str, str]]) -> None:
    failures = [f"rank {rank}: {o.get(name, 'not run')}" for rank, o in enumerate(outcomes) if o.get(name, "not run")]
    assert not failures, "\n".join(failures)


def test_the_timeline_counts_overlap_as_both_and_waiting_as_communication() -> None:
    statistics = Statistics()
    timeline = Timeline(statistics)
    #                     hook                                     result
    events: list[tuple[float, str]] = [
        (0.0, "launch"), (1.0, "done"),  # the first iteration has no forward pass before it
        (2.0, "last"), (4.0, "done"),
        (7.0, "launch"), (8.0, "launch"), (9.0, "done"), (10.0, "last"), (11.0, "done"), (12.0, "done"),
    ]  # fmt: skip
    for now, event in events:
        if event == "done":
            timeline.completed(now)
        else:
            timeline.launched(now, is_last=event == "last")
    assert statistics.iterations == 2
    assert statistics.elapsed_s == 12
    assert statistics.comm_s == (1 + 2) + 5
    assert statistics.compute_s == 2 + 6
    assert (timeline.comm_s, timeline.compute_s) == (5, 6)


def test_settings_are_checked_before_anything_starts() -> None:
    transport: Transport = object.__new__(GlooTransport)
    with pytest.raises(ValueError, match="allowed: fixed, adaptive"):
        EsaState(transport, quantisation="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fraction_bits: 65"):
        EsaState(transport, fraction_bits=65)
    with pytest.raises(RuntimeError, match="init_process_group first"):
        EsaState(transport)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Embedding(4, 2, sparse=True)), r"1: Embedding\(sparse=True\) makes sparse"),
        (nn.EmbeddingBag(4, 2, sparse=True), r"the model: EmbeddingBag\(sparse=True\) makes sparse"),
        (
            nn.Linear(2, 2, device="meta"),
            r"parameter weight is torch.float32, torch.strided, on meta; .* \.to\('cpu'\) or \.cuda\(\)",
        ),
    ],
)
def test_models_whose_gradients_cannot_be_summed_are_refused_before_training(model: nn.Module, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        check_model(model)
    assert "\n" not in str(caught.value)


def test_what_makes_no_gradient_is_nobodys_business() -> None:
    frozen = nn.Embedding(4, 2, sparse=True).requires_grad_(False)
    odd = nn.ParameterList([nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)])
    check_model(nn.ModuleList([frozen, odd, network(), OneGradient(2, dtype=torch.complex64)]))
