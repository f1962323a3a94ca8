"""The packet loop: frames from every port through the program and out again, in batches, on one thread.

A turn: wait until a port has frames (or the control plane a packet-out), receive up to a batch from the ready ports,
run the program on it in the device's turn, send the results grouped by egress port. All of that runs without the
interpreter lock, turn after turn (`passing.py`), unless every batch needs Python, for captures, bad links, traces,
log_msg that is logged, or ports with a rate: then a control plane at work keeps the loop waiting after each step. A
port whose queue is full loses the frame, as a switch does; the loop never blocks on a port. Ports with a rate have
queues of their own (`runtime/queues.py`), which the loop serves between turns.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np

from esa.net import lost_frames, poll_set
from esa.net.faults import NEVER, fault_counters, impair, next_due_ns
from esa.net.impairment import PortFaults
from esa.switch.process.frames import COUNTER_NAMES, CPU, NOWHERE, RX_DROPPED, read_queues, receive, transmit
from esa.switch.process.openings import PORTS, lines, messages, mtu, open_all, open_captures
from esa.switch.process.passing import (
    COUNT,
    CPU_PACKETS,
    FAILED,
    FIRST,
    STIRRED,
    Ends,
    Program,
    nothing,
    pass_packets,
    program_of,
)
from esa.switch.process.real_time import go_first
from esa.switch.runtime.batch import PacketBatch
from esa.switch.runtime.device import Device
from esa.switch.runtime.queues import Queues

BATCH = 256
# Copies made by multicast; a full batch is sent before the rest of the packets go through the program.
OUT_BATCH = 1024
# An MTU up to which a port may be raised while the switch runs; a larger one counts if the port has it at the start.
_LARGEST_MTU = 10240
# Room in a row beyond that: Ethernet header, VLAN tag, and headers that a program adds.
_HEADROOM = 14 + 4 + 512
_WAKE, _REVENTS = 0, 3  # in the array for poll
# Queues are served no more often than this where nothing else happens: what is due by then leaves together.
_SERVICE_NS = 100_000


class PacketLoop:
    """Moves packets of `device` between the interfaces {port number: interface name} and the CPU port.

    with PacketLoop(device, {1: "s1-eth1", 2: "s1-eth2"}) as loop:
        ...
    loop.counters()     # {1: {"rx_packets": ..., ...}, ...}

    pcap: a directory for captures per port, of what is on the wire: before faults on the way in, after them on the way
    out. faults: what the ports' links do to frames on purpose. dump_bytes: of each packet, on the log. real_time:
    packets go first, whatever else the machine does. on_failure: called from the loop's thread with the exception that
    ended it. Queues are what `device.queues` says, from the turn on after the program is fit for them.
    """

    def __init__(
        self,
        device: Device,
        interfaces: Mapping[int, str],
        *,
        pcap: Path | None = None,
        faults: PortFaults | None = None,
        dump_bytes: int = 0,
        real_time: bool = False,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._device = device
        self._numbers = np.array(list(interfaces), np.int32)
        self._sockets = open_all(interfaces)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._captures = open_captures(pcap, interfaces, dump_bytes)
        self._packet_outs: deque[bytes] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._start_ns = monotonic_ns()

        slots = len(interfaces)
        self._fds = np.array([sock.fileno() for sock in self._sockets], np.int32)
        self._polled = poll_set([self._wake, *(int(fd) for fd in self._fds)])
        self._counters = np.zeros((slots, len(COUNTER_NAMES)), np.uint64)
        # Apart from the counters, which belong to the loop's thread.
        self._lost = np.zeros(slots, np.uint64)
        self._slot_of_port = np.full(PORTS, NOWHERE, np.int32)
        self._slot_of_port[self._numbers] = np.arange(slots, dtype=np.int32)
        if device.cpu_port is not None:
            self._slot_of_port[device.cpu_port] = CPU

        row = max([_LARGEST_MTU, *map(mtu, self._sockets)]) + _HEADROOM
        self._in = PacketBatch(BATCH, row)
        self._out = PacketBatch(OUT_BATCH, row)
        self._in_messages = messages(self._in)
        self._out_messages = messages(self._out)
        outputs = len(self._out.length)
        self._rows = np.zeros(outputs, np.int32)
        self._cpu_rows = np.zeros(outputs, np.int32)
        self._starts = np.zeros(slots + 1, np.int32)
        self._queues = np.zeros((slots, 2), np.int64)
        self._depths = np.zeros(PORTS, np.int64)  # of no program
        self._arriving, self._leaving = lines(faults, row)
        self._faulty_ports = [] if faults is None else list(faults.ports)
        self._met: Any = None
        self._program: Program | None = None  # of what is met, if machine code can run it by itself
        self._ends = Ends(
            self._polled,
            self._fds,
            self._numbers,
            self._slot_of_port,
            self._in_messages,
            self._in.port,
            self._out_messages,
            self._out.port,
            self._rows,
            self._starts,
            self._cpu_rows,
            self._queues,
            self._counters,
        )
        self._at = np.zeros(4, np.int64)  # where `pass_packets` is
        self._waiting: Queues | None = None
        self.limits_version = 0
        self._tail_drops = dict.fromkeys(interfaces, 0)  # of queues that were of another program
        self._turns = 0
        self._on_failure = on_failure
        self._real_time = real_time
        device.on_packet_out = self.packet_out
        device.on_change = self._stir
        # Compiled before the first packet waits for it.
        self.turn()
        self._send(0)
        pass_packets(self._ends, nothing(), device.turns.words, 0, self._at)
        read_queues(self._fds, self._numbers, self._queues, self._depths)

    def counters(self) -> dict[int, dict[str, int]]:
        """Return each port's counters since the start, by port number; they stay as they were once it is stopped.

        rx_dropped: frames that came faster than they were taken, or were too long; tx_dropped: frames that the port
        had no room for, or that exceed its MTU; queue_dropped: frames that found a queue of the switch's own full.
        """
        for slot, sock in enumerate(self._sockets):
            if sock.fileno() >= 0:
                self._lost[slot] += np.uint64(lost_frames(sock))
        counters = self._counters.copy()
        counters[:, RX_DROPPED] += self._lost
        return {
            int(number): dict(zip(COUNTER_NAMES, map(int, row), strict=True))
            | {"queue_dropped": self._queue_dropped(int(number))}
            for number, row in zip(self._numbers, counters, strict=True)
        }

    def _queue_dropped(self, port: int) -> int:
        now = 0 if self._waiting is None else self._waiting.dropped(port)
        return self._tail_drops.get(port, 0) + now

    def faults(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return what was done on purpose to the frames of each port that was to have faults, by direction."""
        paths = {"to_switch": self._arriving, "from_switch": self._leaving}
        return {
            str(port): {way: fault_counters(path.faults, port) for way, path in paths.items() if path is not None}
            for port in self._faulty_ports
        }

    def packet_out(self, packet: bytes) -> None:
        """Let a packet enter at the CPU port; callable from any thread."""
        self._packet_outs.append(packet)
        os.eventfd_write(self._wake, 1)

    def _stir(self) -> None:
        """Let the loop take another turn, so that it sees what has changed; callable from any thread."""
        os.eventfd_write(self._wake, 1)

    def __enter__(self) -> PacketLoop:
        self._thread = threading.Thread(target=self.run, name="packet-loop", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the loop after the turn it is in, and close the ports."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        self.counters()
        for sock in self._sockets:
            sock.close()
        for each in chain.from_iterable(self._captures):
            each.close()
        os.close(self._wake)

    def run(self) -> None:
        """Turn until stopped, or until the program fails, which `on_failure` is told."""
        try:
            if self._real_time:
                go_first()
            while not self._stopping:
                if (program := self._runnable()) is not None:
                    self._pass(program)
                else:
                    self.turn(self._timeout_ns())
        except Exception as error:
            if self._on_failure is None:
                raise
            self._on_failure(error)

    def _timeout_ns(self) -> int:
        due_ns = min((next_due_ns(path.queue) for path in (self._arriving, self._leaving) if path), default=NEVER)
        wait_ns = max(due_ns - monotonic_ns(), 0) if due_ns < NEVER else -1
        if self._waiting is not None and (leaves_ns := self._waiting.next_due_ns()) < NEVER:
            left_ns = max(leaves_ns - self._now_ns(), _SERVICE_NS)
            wait_ns = left_ns if wait_ns < 0 else min(wait_ns, left_ns)
        return wait_ns

    def _now_ns(self) -> int:
        """Since the start, as timestamps of the program are."""
        return monotonic_ns() - self._start_ns

    def _runnable(self) -> Program | None:
        """What packets can pass without the interpreter now."""
        return self._program if self._met is self._device.pipeline and not self._device.queues.used else None

    def _pass(self, program: Program) -> None:
        """Let them do so until something is to be done that needs it; move what arrived meanwhile."""
        words, at = self._device.turns.words, self._at
        while (why := pass_packets(self._ends, program, words, self._start_ns, at)) != STIRRED:
            if why == FAILED:
                self._met.tell_failed()
            self._tell_cpu(int(at[CPU_PACKETS]))
        count, at[FIRST] = int(at[COUNT]), at[COUNT]
        self._move(count)

    def turn(self, timeout_ns: int = 0) -> int:
        """Wait for so long at most (negative: no limit), move what arrives; returns the number of packets."""
        batch = self._in
        self._turns += 1
        count = receive(
            self._polled,
            timeout_ns,
            self._fds,
            self._numbers,
            self._turns % max(len(self._fds), 1),
            self._in_messages,
            batch.port,
            self._counters,
            self._queues,
            self._depths if self._met is None else self._met.queue_depth,
        )
        return self._move(count)

    def _move(self, count: int) -> int:
        """Move the packets received, and those of the control plane; returns how many these are together."""
        batch = self._in
        if self._polled[_WAKE, _REVENTS]:
            os.eventfd_read(self._wake)
        if self._captures:
            self._capture_received(count)
        count = self._take_packet_outs(count)
        if self._arriving is not None:
            count = impair(self._arriving, self._in_messages, batch.port, count, monotonic_ns())
        batch.count = count
        pipeline = self._device.pipeline
        if pipeline is not self._met:
            self._met = pipeline
            if pipeline is not None:  # it may have been loaded before there were queues
                self._device.fit_for_queues(pipeline)
            looked_at = self._captures or self._arriving is not None or self._leaving is not None
            self._program = None if pipeline is None or looked_at else program_of(pipeline)
        if pipeline is not None and pipeline.halves is not None:
            self._pass_queues(pipeline)
        elif pipeline is not None:
            first = 0
            while first < count:
                with self._device.turn():
                    if first:
                        read_queues(self._fds, self._numbers, self._queues, pipeline.queue_depth)
                    produced = pipeline.process_batch(batch, self._now_ns() // 1000, self._out, first)
                first = batch.done
                self._leave(produced)
        if self._leaving is not None and next_due_ns(self._leaving.queue) < NEVER:
            self._leave(0)
        return count

    def _pass_queues(self, pipeline: Any) -> None:
        """Run the batch up to the ports' queues, and let out of them what is due."""
        settings = self._device.queues
        if self._waiting is None or self._waiting.pipeline is not pipeline:
            self._tail_drops = {port: self._queue_dropped(port) for port in self._tail_drops}
            row, self.limits_version = self._in.data.shape[1], settings.version
            self._waiting = Queues(pipeline, settings.limits(), frame_bytes=row, batch=len(self._out.length))
        elif settings.version != self.limits_version:
            self.limits_version = settings.version
            with self._device.turn():
                self._waiting.set_limits(settings.limits())
        batch, first = self._in, 0
        while True:
            with self._device.turn():
                read_queues(self._fds, self._numbers, self._queues, pipeline.queue_depth)
                produced = self._waiting.turn(batch, first, self._now_ns(), self._out)
            first = batch.done
            self._leave(produced)
            if first >= batch.count and self._waiting.next_due_ns() > self._now_ns():
                return

    def _leave(self, count: int) -> None:
        if self._leaving is not None:
            count = impair(self._leaving, self._out_messages, self._out.port, count, monotonic_ns())
        self._send(count)

    def _take_packet_outs(self, count: int) -> int:
        batch, cpu_port = self._in, self._device.cpu_port
        if cpu_port is None:
            self._packet_outs.clear()
            return count
        while self._packet_outs and count < len(batch.length):
            packet = self._packet_outs.popleft()
            if len(packet) > batch.data.shape[1]:
                continue
            batch.data[count, : len(packet)] = np.frombuffer(packet, np.uint8)
            batch.length[count] = len(packet)
            batch.port[count] = cpu_port
            count += 1
        if self._packet_outs:
            os.eventfd_write(self._wake, 1)
        return count

    def _send(self, count: int) -> None:
        out = self._out
        cpu_count = transmit(
            self._fds,
            self._slot_of_port,
            self._out_messages,
            out.port,
            count,
            self._rows,
            self._starts,
            self._cpu_rows,
            self._queues,
            self._counters,
        )
        self._tell_cpu(cpu_count)
        if self._captures:
            self._capture_sent(count)

    def _tell_cpu(self, count: int) -> None:
        for row in self._cpu_rows[:count]:
            self._device.on_packet_in(self._out.packet(row)[1])

    def _capture_received(self, count: int) -> None:
        for captures in self._captures:
            self._capture(self._in, count, [each.received for each in captures])

    def _capture_sent(self, count: int) -> None:
        for captures in self._captures:
            self._capture(self._out, count, [each.sent for each in captures])

    def _capture(self, batch: PacketBatch, count: int, writers: Sequence[Any]) -> None:
        now = time.time_ns()
        written = set()
        for i in range(count):
            port = int(batch.port[i])
            slot = int(self._slot_of_port[port]) if 0 <= port < PORTS else NOWHERE
            if slot >= 0:
                writers[slot].write(now, batch.data[i, : batch.length[i]].tobytes())
                written.add(slot)
        for slot in written:
            writers[slot].flush()
