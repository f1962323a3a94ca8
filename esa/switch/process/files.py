"""Ports that are files, as `--use-files` has them: IFACE_in.pcap is read, IFACE_out.pcap written, no root needed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from esa.errors import BadInput
from esa.switch.process.dump import PortDump
from esa.switch.process.frames import COUNTER_NAMES
from esa.switch.process.pcap import PcapWriter, read_pcap
from esa.switch.process.ports import BATCH, OUT_BATCH
from esa.switch.runtime.batch import PacketBatch
from esa.switch.runtime.device import Device
from esa.switch.runtime.queue_settings import QueueSettings

_ROW_BYTES = 1 << 14
_LOOK_S = 0.05


class FileLoop:
    """Runs the packets of all files, in the order of their times, `wait_s` seconds after there is a program.

    In the place of `ports.PacketLoop`, with the same counters; packet-outs are taken at any time. Raises BadInput for a
    file that is none. A port without an input file receives nothing.
    """

    def __init__(
        self,
        device: Device,
        interfaces: Mapping[int, str],
        *,
        wait_s: float,
        dump_bytes: int = 0,
        folder: Path = Path(),
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._device, self._wait_s, self._on_failure = device, wait_s, on_failure
        arriving: list[tuple[int, int, bytes]] = []
        for port, name in interfaces.items():
            path = folder / f"{name}_in.pcap"
            try:
                packets = read_pcap(path) if path.exists() else []
            except ValueError as error:
                raise BadInput(f"--use-files: {error}; packets of Ethernet are allowed") from None
            arriving += [(when, port, frame) for when, frame in packets]
        self._arriving = deque((port, frame) for _, port, frame in sorted(arriving, key=lambda each: each[0]))
        self._out = {port: PcapWriter(folder / f"{name}_out.pcap") for port, name in interfaces.items()}
        self._dumps = {port: PortDump(port, dump_bytes) for port in interfaces} if dump_bytes else {}
        self._counters = {port: dict.fromkeys((*COUNTER_NAMES, "queue_dropped"), 0) for port in interfaces}
        self._packet_outs: deque[bytes] = deque()
        self._batch, self._left = PacketBatch(BATCH, _ROW_BYTES), PacketBatch(OUT_BATCH, _ROW_BYTES)
        self._stop = threading.Event()
        self._start_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="packet-files", daemon=True)
        device.on_packet_out = self._packet_outs.append
        device.queues = QueueSettings(priorities=device.queues.priorities)  # files have none

    def counters(self) -> dict[int, dict[str, int]]:
        """Each port's counters since the start."""
        return self._counters

    def faults(self) -> dict[str, dict[str, dict[str, int]]]:
        """None: files have no links."""
        return {}

    def __enter__(self) -> FileLoop:
        for out in self._out.values():
            out.flush()  # a reader finds a capture, empty as yet
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for out in self._out.values():
            out.close()

    def _run(self) -> None:
        try:
            while self._device.pipeline is None and not self._stop.wait(_LOOK_S):
                pass
            begin = time.monotonic() + self._wait_s
            while not self._stop.is_set():
                if self._packet_outs or (self._arriving and time.monotonic() >= begin):
                    self._turn(time.monotonic() >= begin)
                else:
                    self._stop.wait(_LOOK_S)
        except Exception as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)

    def _turn(self, begun: bool) -> None:
        batch, cpu_port = self._batch, self._device.cpu_port
        batch.count = 0
        while self._packet_outs and batch.count < BATCH:
            packet = self._packet_outs.popleft()
            if cpu_port is not None and len(packet) <= _ROW_BYTES:
                batch.append(cpu_port, packet)
        while begun and self._arriving and batch.count < BATCH:
            port, frame = self._arriving.popleft()
            self._count(port, "rx", frame)
            if self._dumps:
                self._dumps[port].received.write(0, frame)
            if len(frame) <= _ROW_BYTES:
                batch.append(port, frame)
            else:
                self._counters[port]["rx_dropped"] += 1
        pipeline: Any = self._device.pipeline
        first = 0
        while first < batch.count:
            with self._device.turn():
                count = pipeline.process_batch(batch, self._now_us(), self._left, first)
            first = batch.done
            for at in range(count):
                self._send(*self._left.packet(at))
        for out in self._out.values():
            out.flush()

    def _send(self, port: int, frame: bytes) -> None:
        if port in self._out:
            self._count(port, "tx", frame)
            if self._dumps:
                self._dumps[port].sent.write(0, frame)
            self._out[port].write(time.time_ns(), frame)
        elif port == self._device.cpu_port:
            self._device.on_packet_in(frame)

    def _count(self, port: int, way: str, frame: bytes) -> None:
        self._counters[port][f"{way}_packets"] += 1
        self._counters[port][f"{way}_bytes"] += len(frame)

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self._start_ns) // 1000
