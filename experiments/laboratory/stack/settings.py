"""Four settings, each one run of what it has of the stack: which layers are coupled in it, and at which level.

    values = SETTINGS["cluster"].find(settings_of(scenario, folder), stack, seed)     # its `figures`, in their units

A layer that a setting does not have is never multiplied into its figures: the setting has no line for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from esa.errors import BadInput
from esa.gpu_network.filled_times import FilledTimes
from esa.network_times.network import RING
from esa.serving_network.network import SharedNetwork
from esa.serving_network.port import SimulatedPort
from experiments.laboratory import gaps, picture
from experiments.laboratory.run import Laboratory, laboratory_of
from experiments.laboratory.run import evaluate as evaluate_cluster
from experiments.serving import kv
from experiments.serving.run import evaluate as evaluate_chat
from experiments.serving.run import serving_of
from experiments.specs.cluster import ClusterScenario
from experiments.specs.kv import KvScenario
from experiments.specs.serving import ServingScenario
from experiments.specs.stack import RackSpec, StackScenario, StackSpec


class Settings(NamedTuple):
    """What all runs have in common."""

    cluster: ClusterScenario
    rack: RackSpec
    chat: ServingScenario
    prompts: KvScenario


@dataclass(frozen=True)
class Setting:
    """what: for people. layers: that it has; the first figure is a mean, the second a tail. ring: whether sums may be
    messages. check: BadInput for a stack that it cannot run.
    """

    name: str
    what: str
    layers: tuple[str, ...]
    figures: tuple[str, str, str]
    find: Callable[[Settings, StackSpec, int], tuple[float, float, float]]
    check: Callable[[Settings, StackSpec], object]
    ring: bool = True

    def has(self, stack: StackSpec) -> bool:
        return self.ring or stack.switch != RING

    def own(self, stack: StackSpec) -> tuple[object, ...]:
        """What of the stack decides its figures."""
        return tuple(getattr(stack, layer) for layer in self.layers)


def settings_of(scenario: StackScenario, folder: Path, *, quick: bool = False) -> Settings:
    """The scenario's settings. folder: where its other files are. BadInput for those without what they need."""
    cluster = ClusterScenario.load(folder / scenario.cluster.scenario)
    chat = ServingScenario.load(folder / scenario.chat.scenario)
    prompts = KvScenario.load(folder / scenario.prompts.scenario)
    if cluster.network is None or cluster.synthetic is None or cluster.inference is not None:
        raise BadInput(f"{scenario.cluster.scenario}: allowed: with [network] and [synthetic], without [inference]")
    if chat.network is None or chat.network.idle or chat.drawn is None or not chat.training:
        raise BadInput(f"{scenario.chat.scenario}: allowed: with [network] that is not idle, [[training]] and [drawn]")
    if len(prompts.nic.gbps) > 1 or len(prompts.requests.rate) > 1:
        raise BadInput(f"{scenario.prompts.scenario}: allowed: one nic.gbps, one requests.rate")
    rack = scenario.rack
    if quick:
        small = scenario.quick
        rack = rack.model_copy(update={"iterations": small.iterations})
        cluster = cluster.model_copy(update={"synthetic": cluster.synthetic.model_copy(update={"jobs": small.jobs})})
        chat = chat.model_copy(update={"drawn": chat.drawn.model_copy(update={"count": small.chats})})
        requests = prompts.requests.model_copy(update={"count": small.prompts})
        prompts = prompts.model_copy(update={"requests": requests})
    return Settings(cluster, rack, chat, prompts)


def _cluster(settings: Settings, stack: StackSpec, seed: int) -> tuple[ClusterScenario, Laboratory]:
    place = picture.Place(stack.scheduler, stack.switch, stack.rows, seed)
    assert settings.cluster.network is not None
    chosen = picture.at(place._replace(level=settings.cluster.network.level), settings.cluster)
    return chosen, laboratory_of(chosen, Path())


def _find_cluster(settings: Settings, stack: StackSpec, seed: int) -> tuple[float, float, float]:
    chosen, found = _cluster(settings, stack, seed)
    rack = settings.rack
    times = FilledTimes(
        found.times,
        stack.sharing,
        _kernels(rack, seed),
        slice_ns=round(1e3 * rack.slice_us),
        switch_ns=round(1e3 * rack.switch_us),
    )
    filled = Laboratory(found.cluster, found.jobs, times)
    summary, _ = evaluate_cluster(chosen, filled)
    assert summary.cluster is not None
    assert summary.cluster.p95_jct_s is not None
    assert summary.mean_jct_s is not None
    assert summary.mean_wait_s is not None
    return summary.mean_jct_s / 3600, summary.cluster.p95_jct_s / 3600, summary.mean_wait_s / 3600


def _kernels(rack: RackSpec, seed: int) -> list[int]:
    """Of the fillers' task, in ns; as many as of the rack's."""
    random = np.random.default_rng((seed, 0xC1F))
    drawn = np.exp(rack.spread * random.standard_normal(gaps.KERNELS)) * rack.kernel_us * 1e3
    return [max(1, round(each)) for each in drawn.tolist()]


def _find_rack(settings: Settings, stack: StackSpec, seed: int) -> tuple[float, float, float]:
    rack = settings.rack
    setting = gaps.Setting(rack.kernel_us, rack.spread, 1, rack.iterations, rack.slice_us, rack.switch_us)
    found = gaps.find(gaps.Place(stack.switch, stack.rows, stack.sharing, seed), setting)
    return 1e3 * found.holder_s, 1e3 * found.neighbours_s, 100 * found.filled_s / found.holder_s


def _chat(settings: Settings, stack: StackSpec, seed: int) -> ServingScenario:
    network = settings.chat.network
    assert network is not None
    update = {"carrier": stack.switch, "rows": stack.rows}
    return settings.chat.model_copy(
        update={"scheduler": stack.serving, "seed": seed, "network": network.model_copy(update=update)}
    )


def _find_chat(settings: Settings, stack: StackSpec, seed: int) -> tuple[float, float, float]:
    chosen = _chat(settings, stack, seed)
    summary, outcome = evaluate_chat(chosen, serving_of(chosen, Path()))
    assert summary.serving is not None
    if summary.serving.tbt is None:
        raise BadInput("chat: no request has two tokens; allowed: more requests")
    latency = [life.end_ns - life.arrival_ns for life in outcome.lives if life.end_ns is not None]
    beside = [each.mean for each in summary.serving.beside.values() if each is not None]
    if not beside:
        raise BadInput("chat: no training has a whole iteration; allowed: more requests")
    return fmean(latency) / 1e9, 1e3 * summary.serving.tbt.p99, 1e3 * fmean(beside)


@cache
def _port(hosts: int, switch: str, rows: int) -> SimulatedPort:
    """One for all runs of a process: what it has simulated is the same."""
    return SimulatedPort(SharedNetwork(hosts=hosts, carrier=switch, rows=rows, packed=True))


def _prompts_port(settings: Settings, stack: StackSpec) -> SimulatedPort:
    return _port(max(2, settings.prompts.prefill.tp, settings.prompts.decode.tp), stack.switch, stack.rows)


def _find_prompts(settings: Settings, stack: StackSpec, seed: int) -> tuple[float, float, float]:
    mine = settings.prompts
    place = kv.Place(stack.cache, mine.nic.gbps[0], mine.requests.rate[0], seed)
    found = kv.evaluate(mine, place, _prompts_port(settings, stack))
    return found.jct_s, found.jct_99_s, found.mib


def _check_prompts(settings: Settings, stack: StackSpec) -> None:
    port = _prompts_port(settings, stack)
    for spec in (settings.prompts.prefill, settings.prompts.decode):
        kv.instances_of(spec, settings.prompts.model, port)


def _check_chat(settings: Settings, stack: StackSpec) -> None:
    serving_of(_chat(settings, stack, 1), Path())


SETTINGS = {
    one.name: one
    for one in (
        Setting(
            "cluster",
            "trainings on a cluster: scheduler, gaps filled on every GPU (lateness alone) and iterations by level 2, "
            "flows, on one clock",
            ("scheduler", "sharing", "switch", "rows"),
            ("JCT, mean, h", "JCT, 95 %, h", "of it waiting for GPUs, h"),
            _find_cluster,
            lambda settings, stack: _cluster(settings, stack, 1),
        ),
        Setting(
            "rack",
            "three trainings on a switch, one GPU of the first filled: level 3, packets; no ring, for gaps are filled "
            "there where switches or a PS add",
            ("sharing", "switch", "rows"),
            ("filled job's iteration, ms", "neighbours' iteration, ms", "filled, % of the time"),
            _find_rack,
            lambda settings, stack: gaps.network_of(stack.switch, stack.rows),
            ring=False,
        ),
        Setting(
            "chat",
            "inference and a training on one fabric: batches, and level 3, packets, on one clock",
            ("serving", "switch", "rows"),
            ("request, mean, s", "between tokens, 99 %, ms", "training's iteration, ms"),
            _find_chat,
            _check_chat,
        ),
        Setting(
            "prompts",
            "prefill and decode apart: caches by level 2, flows over the NICs; collectives by level 3, packets, on a "
            "network that nobody else uses",
            ("cache", "switch", "rows"),
            ("request, mean, s", "request, 99 %, s", "cache, MiB"),
            _find_prompts,
            _check_prompts,
        ),
    )
}
