"""What is asked of a bad network: rates and times of one direction of a link, checked at the door."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, le=10_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Impairment(_Frozen):
    """Rates are parts of the packets, 0..1; `esa.net.faults` says what each does."""

    loss: Rate = Field(default=0.0, description="the part of the packets that is lost")
    duplicate: Rate = Field(default=0.0, description="the part that arrives twice")
    reorder: Rate = Field(default=0.0, description="the part that is held back, so that others overtake it")
    reorder_ms: Milliseconds = Field(default=2.0, description="for how long at most")
    delay_ms: Milliseconds = Field(default=0.0, description="by which every packet is late")
    jitter_ms: Milliseconds = Field(default=0.0, description="added to the delay: uniform from 0 to that")
    burst_enter: Rate = Field(default=0.0, description="per packet, from good to burst")
    burst_leave: float = Field(
        gt=0, le=1, default=0.25, description="per packet, back: bursts are 1 / burst_leave packets long on average"
    )
    burst_loss: Rate = Field(default=1.0, description="in a burst, in place of `loss`")
    retry_us: Annotated[float, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="the link sends what it lost again after so long, as often as it is lost, and keeps the order: a "
        "loss becomes a delay",
    )


class LinkFaults(_Frozen):
    """Both directions of a host's link; None: all is well. Equal seeds give equal faults."""

    seed: int = Field(ge=0, lt=2**53, default=0)
    to_switch: Impairment | None = None
    from_switch: Impairment | None = None

    def line_seed(self, direction: int) -> int:
        """The seed of direction 0 (to the switch) or 1."""
        return 2 * self.seed + direction


class PortFaults(_Frozen):
    """A switch's ports by number, and where it writes at its end what was done to their packets."""

    ports: dict[Annotated[int, Field(ge=0, le=510)], LinkFaults]
    report: str | None = None


def first_error(errors: list[Any]) -> str:
    """The first of a ValidationError's errors in one line: the key and what is allowed."""
    first = errors[0]
    key = ".".join(map(str, first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}" if key else message
