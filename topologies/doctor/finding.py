"""What a check found, as a line and as JSON; what many findings come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

OK, WRONG, MISSING = "ok", "wrong", "missing"
NOTHING_WRONG = "esa doctor: nothing that a live run needs is wrong with this machine"


class Finding(NamedTuple):
    """One check.

    state:  OK, WRONG or MISSING
    said:   what was found, without a line break
    mend:   the command that mends it; empty where the state is OK
    needed: whether live runs need it
    """

    check: str
    state: str
    said: str
    mend: str = ""
    needed: bool = True

    @property
    def line(self) -> str:
        optional = "" if self.needed or self.state == OK else " (live runs do without)"
        mend = f"; mend: {self.mend}" if self.mend else ""
        return f"{self.state:7} {self.check}: {self.said}{optional}{mend}"

    @property
    def bad(self) -> bool:
        """Whether it keeps live runs from being right."""
        return self.needed and self.state != OK

    def record(self) -> dict[str, Any]:
        return self._asdict()


def short(findings: Iterable[Finding]) -> Iterator[str]:
    """Lines of what live runs need and do not have; one that says so where there is none."""
    bad = [finding for finding in findings if finding.bad]
    yield from [finding.line for finding in bad] or [NOTHING_WRONG]


def one_line(text: str) -> str:
    """The last line of what a command said that did not work."""
    lines = text.strip().splitlines()
    return " ".join(lines[-1].split()) if lines else "it does not say why"
