"""What members of a run and the coordinator say to each other: JSON objects, one a line, over a stream.

    member -> coordinator
      Hello       who this is: a worker or a PS of a job, by its place; `epoch` if it was told one before
      Ready       the PS: listens for this run
      Leave       this member ends; `ok`: it has what it wanted, and stays to answer its peers until all have
      Why         why may nothing come back?
      Cannot      a process of the job cannot take part, and why
    coordinator -> member
      Start       the run has begun: its epoch, the policy and the rows that the switch has for it
      Refuse      there will be no run, and why
      Left        a member has ended
      Finished    every worker has left in good order
      PolicyIs    the job's policy on the running switch was changed (to the PS)
      Notice      to be shown to a person
      Because     the answer to Why; an empty text if the switch shows nothing unusual

The connection is the member's sign of life: when it closes, the member has ended.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from esa.job import MAX_EPOCH, Frozen, Job, Pool

MAX_LINE = 1 << 20  # bytes of a message
PS = -1  # the PS's number among the members


class Hello(Frozen):
    say: Literal["hello"] = "hello"
    job: Job
    member: int = Field(ge=PS)  # a worker's place in `job.workers`, or PS
    server: int = Field(default=0, ge=0)  # a PS: its place in `job.servers`
    rank: int | None = None  # in the program's own numbering, if it has one
    size: int | None = None  # how many take part, as the program sees it
    process: str = ""  # for a person: host and process id
    epoch: int | None = Field(default=None, ge=0, le=MAX_EPOCH)


class Ready(Frozen):
    say: Literal["ready"] = "ready"
    epoch: int


class Leave(Frozen):
    say: Literal["leave"] = "leave"
    ok: bool
    why: str = ""


class Why(Frozen):
    say: Literal["why"] = "why"


class Cannot(Frozen):
    say: Literal["cannot"] = "cannot"
    job: Job
    why: str


class Start(Frozen):
    say: Literal["start"] = "start"
    epoch: int
    policy: str
    pool: Pool | None = None  # None: those of the job's file, as far as anybody knows


class Refuse(Frozen):
    say: Literal["refuse"] = "refuse"
    why: str


class Left(Frozen):
    say: Literal["left"] = "left"
    member: int
    ok: bool
    why: str


class Finished(Frozen):
    say: Literal["finished"] = "finished"


class PolicyIs(Frozen):
    say: Literal["policy"] = "policy"
    policy: str


class Notice(Frozen):
    say: Literal["notice"] = "notice"
    text: str


class Because(Frozen):
    say: Literal["because"] = "because"
    text: str


FromMember: TypeAlias = Hello | Ready | Leave | Why | Cannot
ToMember: TypeAlias = Start | Refuse | Left | Finished | PolicyIs | Notice | Because

_FROM_MEMBER: TypeAdapter[FromMember] = TypeAdapter(Annotated[FromMember, Field(discriminator="say")])
_TO_MEMBER: TypeAdapter[ToMember] = TypeAdapter(Annotated[ToMember, Field(discriminator="say")])


def encode(message: FromMember | ToMember) -> bytes:
    return message.model_dump_json().encode() + b"\n"


def from_member(line: bytes) -> FromMember:
    """A member's message; pydantic's ValidationError if it is none."""
    return _FROM_MEMBER.validate_json(line)


def to_member(line: bytes) -> ToMember:
    """The coordinator's message; pydantic's ValidationError if it is none."""
    return _TO_MEMBER.validate_json(line)
