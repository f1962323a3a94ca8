"""Waiting for file descriptors inside native code: ppoll on an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import types

from esa.native import native
from esa.net.libc import libc_function

PollSet: TypeAlias = npt.NDArray[np.int16]

_ppoll = libc_function("ppoll", types.int32, types.uintp, types.uint64, types.uintp, types.uintp)
_POLLIN = 0x001
_POLLERR_POLLHUP_POLLNVAL = 0x008 | 0x010 | 0x020
_NS_PER_S = 1_000_000_000


def poll_set(fds: Sequence[int]) -> PollSet:
    """Return the pollfd array for reading from `fds`: int16 (n, 4), a row being fd (two cells), events, revents."""
    rows = np.zeros((len(fds), 4), np.int16)
    rows[:, 2] = _POLLIN
    rows[:, :2] = np.array(fds, np.int32).view(np.int16).reshape(-1, 2)
    return rows


@native
def wait_ready(polled: PollSet, timeout_ns: int) -> int:
    """Wait until a descriptor is readable; return how many are.

    0 after `timeout_ns` (negative: no limit), or when a signal arrived.
    """
    timespec = np.empty(2, np.int64)
    timespec[0] = timeout_ns // _NS_PER_S
    timespec[1] = timeout_ns % _NS_PER_S
    polled[:, 3] = 0
    count = _ppoll(polled.ctypes.data, len(polled), timespec.ctypes.data if timeout_ns >= 0 else 0, 0)
    if count < 0:
        # revents is unspecified after an error (EINTR: the caller gets to run signal handlers, then waits again).
        polled[:, 3] = 0
        return 0
    return int(count)


@native
def is_ready(polled: PollSet, i: int) -> bool:
    """Say whether descriptor `i` was readable (or in error, which the next receive tells) at the last wait."""
    return bool(polled[i, 3] & (_POLLIN | _POLLERR_POLLHUP_POLLNVAL))
