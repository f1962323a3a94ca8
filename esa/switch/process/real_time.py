"""A thread that goes before all that has no real-time priority, on machines where threads have to share processors.

The kernel lets a thread that was woken wait for the end of what runs there, which may be some milliseconds away. It
keeps a twentieth of each second for the others, however much there is to do.
"""

from __future__ import annotations

import os

_LOWEST = os.sched_param(1)


def go_first() -> None:
    """Let the calling thread do so from now on. Raises PermissionError."""
    os.sched_setscheduler(0, os.SCHED_RR, _LOWEST)


def may_go_first() -> bool:
    """Whether this process may let a thread do so."""
    before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        go_first()
    except PermissionError:
        return False
    os.sched_setscheduler(0, before, priority)
    return True
