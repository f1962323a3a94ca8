"""Datagrams and Ethernet frames in batches: one system call moves many, without the interpreter lock.

Imported when it is first used: who wants `esa.net.streams` alone, as controllers do, does not wait for a compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.exports import lazy

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
        send_segmented,
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
    "send_segmented",
    "set_peer",
    "wait_ready",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "esa.net.clock": ("monotonic_ns", "realtime_ns"),
        "esa.net.mmsg": (
            "MessageBatch",
            "message_batch",
            "peer_address",
            "peer_port",
            "recv_batch",
            "send_batch",
            "send_rows",
            "send_segmented",
            "set_peer",
        ),
        "esa.net.packet_socket": ("lost_frames", "open_packet_socket"),
        "esa.net.poll": ("is_ready", "poll_set", "wait_ready"),
        "esa.net.queue": ("frame_cost", "queued_bytes"),
        "esa.net.udp": ("open_udp_socket",),
    },
)
