"""Turns with one state: changes, one by one and in Python, and batches of packets, in machine code.

A lock is not fair: who takes it again right after giving it up starves the other. So whoever changes the state holds
the turnstile while it waits for the state, and the packets pass through that before every batch. Where changes follow
one another, they let the packets go first once these have waited for as long as their last batch took: each side has
half of the time, and a single packet waits for no more than the change under way.

The locks are libc's, so that machine code takes them, too: packets take their turns without the interpreter lock. Who
waits looks for a while before it sleeps, as to be woken takes longer than most changes and batches. Where packets have
a real-time priority, whoever has what they wait for has it, too, until it lets go (PTHREAD_PRIO_INHERIT).
"""

from __future__ import annotations

import ctypes
import os
from time import monotonic_ns
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import types

from esa.native import native
from esa.net.clock import monotonic_ns as clock_ns
from esa.net.libc import libc_function

Words: TypeAlias = npt.NDArray[np.int64]

MOST_PATIENCE_NS = 100_000  # of packets, while one change follows another
_LOOKING_NS = 50_000
_PRIO_INHERIT = 1
# Where the mutexes lie, in words, a cache line each. Then since when packets wait, how
# long they do at most, since when they have the state, and how long whoever waits looks before it sleeps.
_TURNSTILE, _ASKING, _STATE, _ASKED_NS, _PATIENCE_NS, _BEGAN_NS, _LOOK_NS, _WORDS = 0, 8, 16, 24, 25, 26, 27, 32

_lock = libc_function("pthread_mutex_lock", types.int32, types.uintp)
_trylock = libc_function("pthread_mutex_trylock", types.int32, types.uintp)
_unlock = libc_function("pthread_mutex_unlock", types.int32, types.uintp)
_libc: Any = ctypes.PyDLL(None)  # calls keep the interpreter lock: what does not wait costs a fraction of a microsecond


@native
def _take(words: Words, mutex: int) -> None:
    at = words.ctypes.data + 8 * mutex
    if _trylock(at) == 0:
        return
    until = clock_ns() + words[_LOOK_NS]
    while clock_ns() < until:
        if _trylock(at) == 0:
            return
    _lock(at)


@native
def take_turn(words: Words) -> None:
    """Take the state for a batch of packets, behind a change that waits; `end_turn` follows."""
    _take(words, _ASKING)
    words[_ASKED_NS] = clock_ns()
    _take(words, _TURNSTILE)
    _unlock(words.ctypes.data + 8 * _TURNSTILE)
    _take(words, _STATE)
    words[_ASKED_NS] = 0
    words[_BEGAN_NS] = clock_ns()
    _unlock(words.ctypes.data + 8 * _ASKING)


@native
def end_turn(words: Words) -> None:
    """Let go of the state."""
    words[_PATIENCE_NS] = min(clock_ns() - words[_BEGAN_NS], MOST_PATIENCE_NS)
    _unlock(words.ctypes.data + 8 * _STATE)


@native
def _wait_for(words: Words, first: int, second: int) -> None:
    """Take two of the mutexes, whenever they are free; a negative one is none."""
    for mutex in (first, second):
        if mutex >= 0:
            _take(words, mutex)


class Turns:
    """The turns of one device. `words`: int64, what `take_turn` and `end_turn` take."""

    def __init__(self) -> None:
        self.words: Words = np.zeros(_WORDS, np.int64)
        self.words[_LOOK_NS] = _LOOKING_NS if len(os.sched_getaffinity(0)) > 1 else 0
        self._each = self.words.data  # one word at a time
        self._turnstile, self._asking, self._state = (self._mutex(at) for at in (_TURNSTILE, _ASKING, _STATE))
        _wait_for(self.words, -1, -1)  # compiled before they are needed
        take_turn(self.words)
        end_turn(self.words)

    def _mutex(self, at: int) -> ctypes.c_void_p:
        mutex, attributes = ctypes.c_void_p(self.words.ctypes.data + 8 * at), ctypes.create_string_buffer(16)
        _libc.pthread_mutexattr_init(attributes)
        _libc.pthread_mutexattr_setprotocol(attributes, _PRIO_INHERIT)
        if error := _libc.pthread_mutex_init(mutex, attributes):
            raise OSError(error, os.strerror(error))
        return mutex

    def hold(self) -> None:
        """Take the state for a change, ahead of packets that have not waited for long; `release` follows."""
        asked_ns = self._each[_ASKED_NS]
        if asked_ns and monotonic_ns() - asked_ns > self._each[_PATIENCE_NS]:
            _wait_for(self.words, _ASKING, -1)
            _libc.pthread_mutex_unlock(self._asking)
        if _libc.pthread_mutex_trylock(self._turnstile):
            _wait_for(self.words, _TURNSTILE, _STATE)
        elif _libc.pthread_mutex_trylock(self._state):
            _wait_for(self.words, _STATE, -1)

    def release(self) -> None:
        """End what `hold` began."""
        self.__exit__()

    __enter__ = hold

    def __exit__(self, *_: object) -> None:
        _libc.pthread_mutex_unlock(self._state)
        _libc.pthread_mutex_unlock(self._turnstile)

    def held(self) -> bool:
        """Whether anyone has the state now."""
        if _libc.pthread_mutex_trylock(self._state):
            return True
        _libc.pthread_mutex_unlock(self._state)
        return False
