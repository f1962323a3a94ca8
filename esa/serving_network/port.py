"""The port of serving answered by the simulator, for a network that nobody else uses: `SimulatedPort`.

    port = SimulatedPort(SharedNetwork(carrier="esa"))
    stage_times("llama-2-7b", "a100", 4, 1, port=port, per_host=1)

A collective is simulated for sizes that are powers of two, when it is asked for first; between them time is linear, as
it is for what streams. Every GPU of a group is on a host of its own, and a rack, if there are several, has an equal
part of a group's.
"""

from __future__ import annotations

from esa.errors import BadInput
from esa.serving.network import ALL_REDUCE, KINDS, Group
from esa.serving_network.jobs import DECODE, boundary_job, plan_of, sums_job
from esa.serving_network.network import SharedNetwork
from esa.sim import simulate

_LEAST = 10  # 1 KiB: less takes as long
_PASSES = 3  # the first finds windows and timers as they are at the start


class SimulatedPort:
    """A `Port` (`esa/serving/network.py`). Deterministic; each size is simulated once."""

    def __init__(self, network: SharedNetwork) -> None:
        self.network = network
        self._known: dict[tuple[str, int, int], int] = {}

    def collective(self, group: Group, kind: str, octets: int) -> int:
        """BadInput for a group that shares hosts or has more GPUs than there are."""
        if kind not in KINDS:
            raise BadInput(f"collective: unknown kind '{kind}'; allowed: {', '.join(KINDS)}")
        if group.workers == 1:
            return 0
        if group.per_host != 1 or group.workers > self.network.hosts:
            raise BadInput(
                f"group: {group.workers} GPUs, {group.per_host} on a host, on {self.network.hosts} hosts; "
                "allowed: a host for each"
            )
        return self._between(ALL_REDUCE, group.workers, octets)

    def flow(self, *, same_host: bool, octets: int) -> int:
        """BadInput within a host: that is no network's."""
        if same_host or self.network.hosts < 2:
            raise BadInput("flow: within a host; allowed: between two")
        return self._between("flow", 2, octets)

    def _between(self, kind: str, workers: int, octets: int) -> int:
        low = max(_LEAST, (max(octets, 1) - 1).bit_length() - 1)
        below, above = self._at(kind, workers, low), self._at(kind, workers, low + 1)
        part = max(0.0, octets / (1 << low) - 1)
        return round(below + part * (above - below))

    def _at(self, kind: str, workers: int, power: int) -> int:
        known = self._known.get((kind, workers, power))
        if known is None:
            known = self._known[kind, workers, power] = self._simulated(kind, workers, 1 << power)
        return known

    def _simulated(self, kind: str, workers: int, octets: int) -> int:
        network = self.network
        hosts = [k * network.hosts // workers for k in range(workers)]
        if kind == ALL_REDUCE:
            job = sums_job("group", hosts, network.sum_bytes(octets), DECODE, _PASSES, network)
        else:
            job = boundary_job("message", hosts[:1], hosts[1:], network, octets=octets)
        outcome = simulate(plan_of([job], network))
        if outcome.incomplete is not None:
            raise RuntimeError(f"a {kind} of {octets} bytes over {workers} hosts: {outcome.incomplete}")
        if kind != ALL_REDUCE:
            jct_s = outcome.jobs[0].jct_s
            assert jct_s is not None
            return round(jct_s * 1e9)
        begun = [max(ns for _, ns in each) for each in zip(*outcome.marks_ns["group"], strict=True)]
        return int(begun[-1] - begun[-2])
