"""Datagrams and Ethernet frames in batches: one system call moves many, without the interpreter lock."""

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
