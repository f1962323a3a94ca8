"""The workers' end of the bench of gradients: frames of all of them, at a pace, whether or not results come.

python -m experiments.studies.bench.source JOB.json EPOCH FRAGMENTS CORE PID...

PID: of a process in the network namespace of each worker, where its interface is. Prints "ready"; for each line "RATE
SECONDS" it then reads it sends RATE gradients a second in all, as many as it can with 0, and prints as JSON how many it
`sent` and how many packets `came` back to the workers, by the kernel's count, and the seconds that it `sent` for.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

from esa.job import Job, Run
from esa.net import MessageBatch, message_batch, open_packet_socket, send_batch
from experiments.studies.bench import frames
from topologies import namespaces
from topologies.network import Network

BURST = 32  # fragments of one worker, before those of the next
QUIET_S, SETTLED_S = 0.05, 5.0
_RECEIVED_PACKETS = 1  # of the numbers of an interface in /proc/PID/net/dev


class Source:
    """A packet socket on each worker's interface, and the frames that go there, again and again."""

    def __init__(self, run: Run, fragments: int, processes: list[int]) -> None:
        self._processes = processes
        self._fragments = fragments
        self._batches: list[MessageBatch] = []
        for gradients in frames.gradients(run, fragments):
            batch = message_batch(fragments, gradients.shape[1], peers=False, data=gradients)
            batch.length[:] = gradients.shape[1]
            self._batches.append(batch)
        self._sockets = [_socket_in(process) for process in processes]

    def received(self) -> int:
        """Packets that came to the workers' interfaces so far."""
        return sum(_received(process) for process in self._processes)

    def send(self, rate: float, seconds: float) -> dict[str, float]:
        """Send for so long, then wait until nothing comes any more."""
        before, sent = self.received(), 0  # fragments
        per_s = rate / len(self._sockets)
        start = now = time.perf_counter()
        while now - start < seconds:
            due = BURST if rate == 0 else min(int((now - start) * per_s) - sent, BURST)
            if due > 0:
                at = sent % self._fragments
                count = min(due, self._fragments - at)
                for sock, batch in zip(self._sockets, self._batches, strict=True):
                    done = 0
                    while done < count:
                        done += max(send_batch(sock.fileno(), batch, at + done, count - done), 0)
                sent += count
            now = time.perf_counter()
        return {"sent": sent * len(self._sockets), "seconds": now - start, "came": self._settled() - before}

    def _settled(self) -> int:
        end = time.monotonic() + SETTLED_S
        seen = self.received()
        while time.monotonic() < end:
            time.sleep(QUIET_S)
            seen, before = self.received(), seen
            if seen == before:
                break
        return seen


def _socket_in(process: int) -> socket.socket:
    """A packet socket on the interface of another process's network namespace; it has no use for what comes."""
    with namespaces.inside(process, "net"):
        return open_packet_socket(Network.interface, receive_bytes=4096)


def _received(process: int) -> int:
    for line in Path(f"/proc/{process}/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == Network.interface:
            return int(numbers.split()[_RECEIVED_PACKETS])
    raise OSError(f"no interface {Network.interface!r} in the namespace of process {process}")


def main() -> None:
    path, epoch, fragments, core, *processes = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    source = Source(Job.load(path).run(int(epoch)), int(fragments), [int(pid) for pid in processes])
    source.send(1000.0, 0.01)  # compiled
    print("ready", flush=True)
    while line := sys.stdin.readline():
        rate, seconds = line.split()
        print(json.dumps(source.send(float(rate), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
