"""What can go wrong, each in one line that a person can act on.

    EsaError
      BadInput              the request itself is wrong; nothing was started or sent
      SwitchError           the switch did not do what it was asked: code, details, address
        Unreachable         no P4Runtime server answers at the address
        NotPrimary          another client holds the switch with a higher election id
        Refused             the switch refused entries (items) or does not support the request
          AlreadyExists     what was to be inserted is there already
      JoinError             a run did not start: what its members, PS and switch do not agree on
      AllReduceError        an all-reduce ended without a sum: job, rank, seq, missing, computing
        MemberLeft          because a member of the run ended

Everything that this project raises for its user to read is one of these. The text says all of it to a person; a
program reads the attributes. What a library raised is the `__cause__`. `status` is the exit status of the command that
an error ends: 2 where nothing was started, else 1 (`esa.exits`).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class EsaError(Exception):
    """The root: `except EsaError` catches whatever this project says on purpose."""

    status = 1


class BadInput(EsaError, ValueError):  # noqa: N818 - reads as what it is
    """The request itself is wrong; nothing was started, or sent to the switch."""

    status = 2


class SwitchError(EsaError, RuntimeError):
    """The switch did not do what it was asked.

    code: the name of its gRPC status, as `UNAVAILABLE`; None where the switch was not asked, or said nothing.
    details: what it said, in one line; address: where it is. None where they are not known.
    """

    def __init__(
        self, text: str, *, code: str | None = None, details: str | None = None, address: str | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.details = details
        self.address = address


class Unreachable(SwitchError):  # noqa: N818
    """No P4Runtime server answers at the address."""


class NotPrimary(SwitchError):  # noqa: N818
    """Another client holds the switch with a higher election id."""


class RefusedItem(NamedTuple):
    """One item of a write that the switch did not take.

    item: as it was given, an `Entry`, a `Group` or a (counter, index, count). code: P4Runtime's, as `NOT_FOUND`.
    """

    item: Any
    code: str
    message: str


class Refused(SwitchError):  # noqa: N818
    """The switch refused entries or does not support the request; `items`: those of a write that it did not take."""

    def __init__(
        self,
        text: str,
        *,
        code: str | None = None,
        details: str | None = None,
        address: str | None = None,
        items: tuple[RefusedItem, ...] = (),
    ) -> None:
        super().__init__(text, code=code, details=details, address=address)
        self.items = items


class AlreadyExists(Refused):
    """What was to be inserted is there already."""


class JoinError(EsaError, RuntimeError):
    """A run did not start; the text says what does not agree, where, and what to do."""


class AllReduceError(EsaError, RuntimeError):
    """An all-reduce ended without a sum: `job` by name, `rank`, `seq` of the fragment, and the ranks `missing`.

    `missing` are those that were waited for, as far as known; `computing`: they live, and were too slow.
    """

    def __init__(
        self, text: str, *, job: str, rank: int, seq: int, missing: tuple[int, ...] = (), computing: bool = False
    ) -> None:
        super().__init__(text)
        self.job = job
        self.rank = rank
        self.seq = seq
        self.missing = missing
        self.computing = computing


class MemberLeft(AllReduceError):  # noqa: N818
    """A member of the run ended: `missing` names it."""
