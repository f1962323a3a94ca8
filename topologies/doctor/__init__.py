"""What a live run needs of this machine, looked at: a line per check, and the command that mends what is wrong.

    for finding in examine():
        print(finding.line)

A file per kind of check; each takes apart what is looked at (probing) and what that means (a rule on plain values).
"""

from __future__ import annotations

from collections.abc import Iterator

from topologies.doctor.finding import Finding

__all__ = ["Finding", "examine"]


def examine() -> Iterator[Finding]:
    """Every check, in the order in which one mends."""
    # Here: whoever brings up a rack has this package at hand, and needs none of it where all goes well.
    from topologies.doctor import caches, interfaces, kernel, left, packages, ports

    with packages.TorchTrial() as torch:  # imports it meanwhile: seconds
        yield from kernel.check()
        yield from packages.check()
        yield torch.finding()
    yield from interfaces.check()
    yield from ports.check()
    yield from caches.check()
    yield from left.check()
