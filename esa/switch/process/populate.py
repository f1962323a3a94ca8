"""Memory for a program's tables that the kernel gives when it is loaded: a huge page's first use takes milliseconds."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

_MADV_POPULATE_WRITE = 23  # Linux 5.14; Python's mmap does not name it
_MOST_BYTES = 256 << 20  # what a larger program has beyond this comes as it is used


def populate(memory: npt.NDArray[np.int64]) -> None:
    """Let the whole pages of `memory` be there. Where the kernel cannot, they come one by one, as they are used."""
    page = mmap.PAGESIZE
    first = -(-memory.ctypes.data // page) * page
    last = (memory.ctypes.data + min(memory.nbytes, _MOST_BYTES)) // page * page
    if last > first:
        madvise: Any = ctypes.CDLL(None).madvise
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_POPULATE_WRITE)
