"""Datagrams and Ethernet frames in batches: one system call moves many, without the interpreter lock.

Imported when it is first used: who wants `esa.net.streams` alone, as controllers do, does not wait for a compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esa.net.clock import monotonic_ns, realtime_ns
    from esa.net.mmsg import (
        MessageBatch,
        message_batch,
        peer_address,
        peer_port,
        recv_batch,
        send_batch,
        send_rows,
        set_peer,
    )
    from esa.net.packet_socket import lost_frames, open_packet_socket
    from esa.net.poll import is_ready, poll_set, wait_ready
    from esa.net.queue import frame_cost, queued_bytes
    from esa.net.udp import open_udp_socket

__all__ = [
    "MessageBatch",
    "frame_cost",
    "is_ready",
    "lost_frames",
    "message_batch",
    "monotonic_ns",
    "open_packet_socket",
    "open_udp_socket",
    "peer_address",
    "peer_port",
    "poll_set",
    "queued_bytes",
    "realtime_ns",
    "recv_batch",
    "send_batch",
    "send_rows",
    "set_peer",
    "wait_ready",
]
_MODULES = {
    "clock": ("monotonic_ns", "realtime_ns"),
    "mmsg": (
        "MessageBatch",
        "message_batch",
        "peer_address",
        "peer_port",
        "recv_batch",
        "send_batch",
        "send_rows",
        "set_peer",
    ),
    "packet_socket": ("lost_frames", "open_packet_socket"),
    "poll": ("is_ready", "poll_set", "wait_ready"),
    "queue": ("frame_cost", "queued_bytes"),
    "udp": ("open_udp_socket",),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
