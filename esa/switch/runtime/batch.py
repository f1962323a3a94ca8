"""Packets side by side, as native code takes them and gives them back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class PacketBatch:
    """Packets side by side: data uint8 (n, mtu), length int32 (n,), port int32 (n,), of which `count` are in use.

    `done` is how many packets of an input batch the last process_batch took.
    """

    def __init__(self, capacity: int, mtu: int = 2048) -> None:
        self.data: npt.NDArray[np.uint8] = np.zeros((capacity, mtu), np.uint8)
        self.length: npt.NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.port: npt.NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.count = 0
        self.done = 0

    @property
    def capacity(self) -> int:
        """How many packets fit."""
        return len(self.length)

    def append(self, port: int, packet: bytes) -> None:
        """Add a packet. Raises ValueError if it is longer than mtu or the batch is full."""
        if self.count >= self.capacity or len(packet) > self.data.shape[1]:
            raise ValueError(f"a packet of {len(packet)} bytes does not fit a batch of {self.data.shape}")
        self.data[self.count, : len(packet)] = np.frombuffer(packet, np.uint8)
        self.length[self.count] = len(packet)
        self.port[self.count] = port
        self.count += 1

    def packet(self, at: int) -> tuple[int, bytes]:
        """(port, bytes) of a packet."""
        return int(self.port[at]), self.data[at, : self.length[at]].tobytes()
