"""Packet traces: what one packet met on its way, step by step.

trace = pipeline.trace(1, bytes(60))
print(trace)        # packet 1 at 0.000000 s: 60 bytes on port 1, its parser's states and so on, a line each
[step.text for step in trace.steps if step.kind == "table"]
"""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One step: its kind (a word, say "table"), how deep it lies inside the steps before it, and its text."""

    kind: str
    depth: int
    text: str

    def __str__(self) -> str:
        return "  " * self.depth + self.text


class PacketTrace(NamedTuple):
    """The steps of one packet and its copies, in order, and what left: (egress port, packet) of each copy."""

    steps: tuple[Step, ...]
    packets: tuple[tuple[int, bytes], ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))
