"""What fails in a simulation, when and for how long, and what came of it: plain values."""

from __future__ import annotations

from dataclasses import dataclass

SWITCH, PS, HOST = "switch", "ps", "host"
KINDS = (SWITCH, PS, HOST)


@dataclass(frozen=True)
class Failure:
    """Something dies, and what it knew is gone.

    kind: "switch": its tables, rows and counters; when it is back the control plane puts its tables there again. "ps":
    that of a job; when it is back it knows the job, and no fragment. "host": every worker and PS on it; their jobs are
    stopped, and go on from the last iteration that all their workers finished, in a new epoch, once they have hosts.
    number: of the switch, in the order of the graph, the job or the host. down_ns: for how long; None: for good. What
    is down already stays so until the last of its failures is over. ValueError, one line.
    """

    kind: str
    number: int
    at_ns: int
    down_ns: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"failure: '{self.kind}'; allowed: {', '.join(KINDS)}")
        if self.at_ns < 0:
            raise ValueError(f"failure: at_ns {self.at_ns}; allowed: 0 or more")
        if self.down_ns is not None and self.down_ns < 0:
            raise ValueError(f"failure: down_ns {self.down_ns}; allowed: 0 or more")


@dataclass(frozen=True)
class FailureOutcome:
    """died_s, back_s: virtual time; None: that was not reached. stopped: the jobs that it stopped, by name."""

    kind: str
    number: int
    died_s: float | None = None
    back_s: float | None = None
    stopped: tuple[str, ...] = ()
