"""Sockets of a process that its forked children, such as a data loader's workers, do not keep.

A child would hold the address after its parent has let go of it, and the connection, whose end says that the parent has
ended, open.
"""

from __future__ import annotations

import contextlib
import os
import socket
import weakref

_not_for_children: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def not_for_children(sock: socket.socket) -> socket.socket:
    """The same socket; a child that is forked from now on finds it closed."""
    _not_for_children.add(sock)
    return sock


def _close_in_child() -> None:
    for sock in tuple(_not_for_children):
        with contextlib.suppress(OSError):
            # Not close(), which waits for files made of the socket.
            os.close(sock.detach())
    _not_for_children.clear()


os.register_at_fork(after_in_child=_close_in_child)
