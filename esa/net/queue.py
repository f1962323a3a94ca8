"""How much of what a socket sent has not left yet: the queue of a rate-limited interface, seen from its sender."""

from __future__ import annotations

import socket

import numpy as np
from numba import types

from esa.native import native
from esa.net.libc import libc_function

_getsockopt = libc_function("getsockopt", types.int32, types.int32, types.int32, types.int32, types.uintp, types.uintp)
_SOL_SOCKET = int(socket.SOL_SOCKET)
# Linux's numbers (linux/sock_diag.h); Python's socket module does not name them.
_SO_MEMINFO = 55
_MEMINFO_WORDS = 9
_SK_MEMINFO_WMEM_ALLOC = 2
# The kernel's structures around a frame: struct sk_buff; struct skb_shared_info and headroom, which share the data's
# allocation, a power of two.
_BUFFER_HEAD_BYTES = 256
_BUFFER_TAIL_BYTES = 384


@native
def queued_bytes(fd: int) -> int:
    """Return the kernel memory, in bytes, of what this socket sent and has not left yet; 0 if it is unknown."""
    memory = np.zeros(_MEMINFO_WORDS, np.uint32)
    size = np.full(1, 4 * _MEMINFO_WORDS, np.uint32)
    if _getsockopt(fd, _SOL_SOCKET, _SO_MEMINFO, memory.ctypes.data, size.ctypes.data) != 0:
        return 0
    return int(memory[_SK_MEMINFO_WMEM_ALLOC])


@native
def frame_cost(length: int) -> int:
    """Return the kernel memory that an outgoing frame of `length` bytes takes: queued_bytes / frame_cost is a depth."""
    allocation = 512
    while allocation < length + _BUFFER_TAIL_BYTES:
        allocation *= 2
    return allocation + _BUFFER_HEAD_BYTES
