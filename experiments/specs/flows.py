"""[[flows]]: traffic of no job, from one host to another."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from experiments.specs.keys import MAX_TIME_S, Finite, Name, key
from experiments.specs.rate import Rate, rate_text

TCP, CONSTANT = "tcp", "constant"
MAX_FLOWS = 1000
MAX_BYTES = 2**40
MIN_BPS = 1e3
_HOST = "a host's name ([network])"


class FlowSpec(Finite):
    """Traffic of no job, which shares the links with them: what a host sends to another, once the jobs have started."""

    name: Name = key("a name that occurs once")
    source: str = key("the host that sends", alias="from", allowed=_HOST)
    target: str = key("the host that receives", alias="to", allowed=_HOST)
    kind: Literal["tcp", "constant"] = key(
        "tcp: a stream, as fast as the network and congestion control let it; constant: datagrams at `rate`, whatever "
        "becomes of them",
        TCP,
    )
    rate: Rate | None = key("of `constant`, which must have it: payload", None)
    size_bytes: int | None = key(
        "payload that is sent; a run waits for it", None, absent="sent until the run is over", ge=1, le=MAX_BYTES
    )
    start_s: float = key("after the start", 0.0, unit="s", ge=0, le=MAX_TIME_S)
    duration_s: float | None = key(
        "after which it is cut off, in place of `size_bytes`; a run does not wait for it",
        None,
        absent="until `size_bytes` have arrived, or the run is over",
        gt=0,
        le=MAX_TIME_S,
    )
    congestion: Literal["reno", "dctcp"] | None = key(
        "of `tcp`, what marks do to its window: reno, half of it goes (RFC 3168); dctcp, the more the more are marked "
        "(RFC 8257); live, if the kernel has it",
        None,
        absent="dctcp in virtual time, the kernel's own live",
    )

    @model_validator(mode="after")
    def _of_its_kind(self) -> FlowSpec:
        if self.source == self.target:
            raise ValueError(f"to: '{self.target}' is where it comes from; allowed: another host")
        if self.kind == TCP and self.rate is not None:
            raise ValueError(f"rate: '{TCP}' is as fast as it can be; allowed: with kind = \"{CONSTANT}\"")
        if self.kind == CONSTANT and self.congestion is not None:
            raise ValueError(f"congestion: '{CONSTANT}' has none; allowed: with kind = \"{TCP}\"")
        if self.kind == CONSTANT and self.rate is None:
            raise ValueError(f"rate: '{CONSTANT}' needs one; allowed: a text with its unit, as \"5 Mb/s\"")
        if self.rate is not None and self.rate < MIN_BPS:
            raise ValueError(f"rate: {rate_text(self.rate)}; allowed: {rate_text(MIN_BPS)} or more")
        if self.size_bytes is not None and self.duration_s is not None:
            raise ValueError("duration_s: and size_bytes; allowed: one of them, or neither: until the run is over")
        return self
