"""Between a bucket of gradients and what the network takes: arrays of integers in host memory.

Gradients in host memory are quantised where they are. Those on a GPU are quantised there: integers are copied to pinned
memory on a stream of its own once these gradients are there, and sums come back on another one, so that neither way
waits for the other, or for the backward pass that goes on meanwhile.

    backward    [ layer 3 ][ layer 2 ][ layer 1 ]
    outgoing               [ quantise, to the host ]
    incoming                                   [ to the GPU, average ]
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray

from esa.rounds import Fragments, OnHost, Quantiser
from esa.scales import Exponents, Lanes, Scale
from esa.torch.tensors import BITS, Tables, dequantised, quantised, whole_fragments

_TYPES = {np.dtype(np.int32): torch.int32, np.dtype(np.int8): torch.int8}
_URGENT = -1  # priority of a stream: who waits for a sum waits for the slowest rank


class Staging(Quantiser, Protocol):
    """A quantiser of one device's tensors: `out` may have any floating-point type."""

    incoming: torch.cuda.Stream | None  # averages are written on it; None: at once

    def mark(self) -> torch.cuda.Event | None:
        """Behind what has been asked of the device in this thread, so far: the gradients of a bucket."""

    def values(self, buffer: torch.Tensor) -> Any:
        """A bucket's gradients, which are there, for `quantise`: float64 as they are, all else as float32."""


class HostStaging(OnHost):
    """Gradients in host memory."""

    incoming: torch.cuda.Stream | None = None

    def mark(self) -> None:
        return None

    def values(self, buffer: torch.Tensor) -> Any:
        return _wide(buffer).numpy()

    def dequantise(
        self, lanes: Lanes, agreed: Exponents, fragment_lanes: int, scale: Scale, out: torch.Tensor, divisor: int
    ) -> None:
        wide = out if out.dtype in BITS else torch.empty(out.shape, dtype=torch.float32, device="cpu")
        super().dequantise(lanes, agreed, fragment_lanes, scale, wide.numpy(), divisor)
        if wide is not out:
            out.copy_(wide)


class DeviceStaging:
    """Gradients on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tables: tuple[Scale, Tables] | None = None  # of the last scale
        self._has_streams = device.type == "cuda"
        self._outgoing = self._stream()
        self.incoming = self._stream()

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.Stream(self._device, _URGENT) if self._has_streams else None  # type: ignore[no-untyped-call]

    def _tables_of(self, scale: Scale) -> Tables:
        known = self._tables
        if known is None or known[0] is not scale:
            known = self._tables = (scale, Tables.of(scale, self._device))
        return known[1]

    def mark(self) -> torch.cuda.Event | None:
        return torch.cuda.current_stream(self._device).record_event() if self._has_streams else None

    def empty(self, size: int, dtype: npt.DTypeLike) -> NDArray[Any]:
        kind, pinned = _TYPES[np.dtype(dtype)], self._has_streams
        memory: NDArray[Any] = torch.empty(size, dtype=kind, device="cpu", pin_memory=pinned).numpy()
        return memory

    def values(self, buffer: torch.Tensor) -> Any:
        with _on(self._outgoing):
            return _wide(buffer)

    def fragments(self, values: Any, which: Fragments, fragment_lanes: int) -> Any:
        with _on(self._outgoing):
            return whole_fragments(values, torch.from_numpy(which).to(self._device), fragment_lanes)

    def quantise(
        self,
        values: Any,
        agreed: Exponents,
        fragment_lanes: int,
        scale: Scale,
        lanes: Lanes,
        needed: Exponents,
        vanished: NDArray[np.int32],
    ) -> int:
        with _on(self._outgoing):
            made = quantised(values, torch.from_numpy(agreed).to(self._device), fragment_lanes, self._tables_of(scale))
            for there, here in ((made.lanes, lanes), (made.needed, needed), (made.vanished, vanished)):
                torch.from_numpy(here).copy_(there, non_blocking=True)
            nonzero = int(made.nonzero.item())
            _wait_for(self._outgoing)
        return nonzero

    def dequantise(
        self, lanes: Lanes, agreed: Exponents, fragment_lanes: int, scale: Scale, out: Any, divisor: int
    ) -> None:
        with _on(self.incoming):
            here = torch.from_numpy(lanes)
            if self._has_streams:
                here = here.pin_memory()
            there = here.to(self._device, non_blocking=True)
            under = torch.from_numpy(agreed).to(self._device)
            dequantised(there, under, fragment_lanes, self._tables_of(scale), out, divisor)
            _wait_for(self.incoming)


def staging_of(device: torch.device) -> Staging:
    """For tensors on `device`."""
    return HostStaging() if device.type == "cpu" else DeviceStaging(device)


def _wide(buffer: torch.Tensor) -> torch.Tensor:
    return buffer if buffer.dtype in BITS else buffer.to(torch.float32)


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    return torch.cuda.stream(stream)  # with None nothing changes


def _wait_for(stream: torch.cuda.Stream | None) -> None:
    if stream is not None:
        stream.synchronize()
