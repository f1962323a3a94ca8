"""The kernel's clocks, readable inside native code."""

from __future__ import annotations

import time

import numpy as np
from numba import types

from esa.native import native
from esa.net.libc import libc_function

_clock_gettime = libc_function("clock_gettime", types.int32, types.int32, types.uintp)
_MONOTONIC = int(time.CLOCK_MONOTONIC)
_REALTIME = int(time.CLOCK_REALTIME)
_NS_PER_S = 1_000_000_000


@native
def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in ns: what `time.monotonic_ns` returns, callable in native code."""
    timespec = np.empty(2, np.int64)
    _clock_gettime(_MONOTONIC, timespec.ctypes.data)
    return int(timespec[0] * _NS_PER_S + timespec[1])


@native
def realtime_ns() -> int:
    """Return CLOCK_REALTIME in ns since the epoch."""
    timespec = np.empty(2, np.int64)
    _clock_gettime(_REALTIME, timespec.ctypes.data)
    return int(timespec[0] * _NS_PER_S + timespec[1])
