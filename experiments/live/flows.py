"""A run's flows: a process on the host of each end, when they begin, and what became of them.

traffic = Traffic(scenario, net, logs, record)   # its processes start
traffic.go(start)                                # once none is `waiting`; each begins at its own time after that
heard = traffic.look()                           # now and then; `over` once nothing is waited for
traffic.end()
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esa.report.records import FlowSummary
from experiments.specs.flows import CONSTANT, TCP, FlowSpec
from experiments.specs.scenario import Scenario
from topologies.network import Network

FIRST_PORT = 20_000  # of the first flow; below those that the kernel gives away
END_LIMIT_S = 5.0


@dataclass
class End:
    """One end's process, and what it said."""

    process: subprocess.Popen[bytes]
    log: Path
    said: dict[str, dict[str, Any]] = field(default_factory=dict)  # the newest of each event
    buffer: bytes = b""

    def tell(self, word: str, value: float) -> None:
        with contextlib.suppress(BrokenPipeError):  # its end is noticed where all ends are
            self.process.stdin.write(f"{word} {value!r}\n".encode())
            self.process.stdin.flush()

    def listen(self) -> list[dict[str, Any]]:
        """What it has said since."""
        chunk = self.process.stdout.read(1 << 16) or b""
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        records = [json.loads(line) for line in lines]
        self.said |= {record["event"]: record for record in records}
        return records


class Traffic:
    """All flows of a run."""

    def __init__(self, scenario: Scenario, net: Network, logs: Path, record: Callable[[dict[str, Any]], None]) -> None:
        self.flows = scenario.flows
        self.failures: dict[str, str] = {}  # what ended before it was to
        self._record = record
        self._start = self._ended = 0.0
        self._ends: dict[str, tuple[End, End]] = {}
        number = {host: number for number, host in enumerate(scenario.host_names())}
        for port, flow in enumerate(self.flows, start=FIRST_PORT):
            common = ["--kind", flow.kind, "--port", str(port)]
            out = ["--to", str(net.ip(number[flow.target]))]
            if flow.rate is not None:
                out += ["--rate-bps", repr(flow.rate)]
            if flow.congestion is not None:
                out += ["--congestion", flow.congestion]
            if flow.size_bytes is not None:
                out += ["--size-bytes", str(flow.size_bytes)]
            self._ends[flow.name] = (
                _start_end(net, number[flow.source], ["send", *common, *out], logs / f"flow-{flow.name}-from.log"),
                _start_end(net, number[flow.target], ["receive", *common], logs / f"flow-{flow.name}-to.log"),
            )

    @property
    def waiting(self) -> list[str]:
        """Flows whose ends are not ready."""
        return [f"flow {name}" for name, ends in self._ends.items() if not all("ready" in end.said for end in ends)]

    @property
    def awaited(self) -> list[str]:
        """Flows that have a size and have not arrived."""
        sized = [flow.name for flow in self.flows if flow.size_bytes is not None]
        return [f"flow {name}" for name in sized if name not in self.failures and not self._arrived(name)]

    def _arrived(self, name: str) -> bool:
        return all("end" in end.said for end in self._ends[name])

    @property
    def last_start(self) -> float:
        """When the last of those that are waited for begins, monotonic seconds."""
        return self._start + max((flow.start_s for flow in self.flows if flow.size_bytes is not None), default=0.0)

    def go(self, start: float) -> None:
        """The run has started, at that time."""
        self._start = start
        for flow in self.flows:
            for end in reversed(self._ends[flow.name]):
                if flow.duration_s is not None:
                    end.tell("stop", start + flow.start_s + flow.duration_s)
                end.tell("go", start + flow.start_s)

    def look(self) -> bool:
        """Hear what ends say, and which have ended; whether any said something."""
        heard = False
        for flow in self.flows:
            for side, end in zip(("from", "to"), self._ends[flow.name], strict=True):
                status = end.process.poll()  # before: what it says last is heard, then
                for record in end.listen():
                    heard = True
                    if record["event"] == "end":
                        self._record(record | {"event": "flow", "flow": flow.name, "side": side})
                        if side == "from" and flow.kind == CONSTANT and flow.size_bytes is not None:
                            self._ends[flow.name][1].tell("sent", record["packets"])
                if status is not None and "end" not in end.said and flow.name not in self.failures:
                    words = end.log.read_text(errors="replace").strip().splitlines()
                    why = words[-1] if words else f"{end.log} is empty"
                    self.failures[flow.name] = f"flow {flow.name}: its '{side}' end ended (status {status}): {why}"
        return heard

    def end(self) -> None:
        """Cut off what is still going on, and hear how far it came. Safe to call twice."""
        if self._ended:
            return
        self._ended = time.monotonic()
        ends = [end for both in self._ends.values() for end in reversed(both)]  # who receives is told first
        for end in ends:
            end.tell("stop", self._ended)
        while time.monotonic() < self._ended + END_LIMIT_S:
            self.look()
            if all(end.process.poll() is not None for end in ends):
                break
            time.sleep(0.01)
        self.look()
        for end in ends:
            for pipe in (end.process.stdin, end.process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def summaries(self) -> list[FlowSummary]:
        """What became of the flows so far."""
        return [self._summary(flow) for flow in self.flows]

    def _summary(self, flow: FlowSpec) -> FlowSummary:
        sender, receiver = self._ends[flow.name]
        found = receiver.said.get("end") or receiver.said.get("bytes")
        if self._start == 0.0 or found is None:
            return FlowSummary(name=flow.name, kind=flow.kind)
        return FlowSummary.of(
            flow.name,
            flow.kind,
            found["bytes"],
            found["t"] - (self._start + flow.start_s),
            lost=found.get("lost") if flow.kind == CONSTANT else None,
            resends=sender.said.get("end", {}).get("resends") if flow.kind == TCP else None,
        )


def _start_end(net: Network, host: int, arguments: list[str], log: Path) -> End:
    with log.open("wb") as stderr:
        process = net.popen(
            host,
            [sys.executable, "-m", "experiments.live.traffic", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ,
        )
    os.set_blocking(process.stdout.fileno(), False)
    return End(process, log)
