"""How long workers compute, as the network sees it: from a worker's last sum of an iteration to its next fragment.

    each = pauses(folder, scenario, job=0, fragments=117)   # of a run with captures

What a program says of itself (`compute_s`) leaves out waking up, copying and quantising, which the network waits for
just as well; and it says nothing about how far apart two workers are, which decides how long rows of a switch are held.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esa.wire import ENCAPSULATION_BYTES, ESA_PORT, packet_bytes, packet_dtype
from experiments.scenario import Scenario

CAPTURES = "pcaps"  # in a run's folder
_RECORD = struct.Struct("<IIII")
_FILE_HEADER_BYTES = 24
_UDP_AT = ENCAPSULATION_BYTES - 8


def read_capture(path: Path, lanes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.void]]:
    """The ESA packets of a capture with nanoseconds: times (n,) ns, packets (n,) `packet_dtype(lanes)`."""
    data = path.read_bytes()
    length = packet_bytes(lanes)
    times, packets = [], []
    at = _FILE_HEADER_BYTES
    while at + _RECORD.size <= len(data):
        seconds, nanoseconds, kept, _ = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        frame = data[at : at + kept]
        if len(frame) == length and ESA_PORT in struct.unpack_from(">HH", frame, _UDP_AT):
            times.append(seconds * 1_000_000_000 + nanoseconds)
            packets.append(frame[ENCAPSULATION_BYTES:])
        at += kept
    return np.array(times, np.int64), np.frombuffer(b"".join(packets), packet_dtype(lanes))


def pauses(folder: Path, scenario: Scenario, job: int, fragments: int) -> npt.NDArray[np.float64]:
    """Seconds, (workers, iterations - 1), between the iterations of the `job`-th job.

    fragments: of an iteration, in one bucket. ValueError where the captures do not hold that many iterations.
    """
    spec = scenario.jobs[job]
    first_port = 1 + sum(before.workers + 1 for before in scenario.jobs[:job])
    found = []
    for port in range(first_port, first_port + spec.workers):
        sent, results = (_by_iteration(folder, port, way, scenario.lanes, fragments) for way in ("in", "out"))
        last = max(sent, default=-1)  # the training's; warming up comes before it
        iterations = range(last - spec.iterations + 1, last + 1)
        if iterations[0] < 0 or any(i not in sent or i not in results for i in iterations):
            raise ValueError(f"{folder}: no capture of {spec.iterations} iterations of job {spec.name} at port {port}")
        found.append([sent[i + 1].min() - results[i].max() for i in iterations[:-1]])
    return np.array(found, np.float64) / 1e9


def _by_iteration(
    folder: Path, port: int, way: str, lanes: int, fragments: int
) -> dict[int, npt.NDArray[np.int64]]:
    """Times of what a port received ("in") or sent ("out"), by iteration."""
    (path,) = (folder / CAPTURES).glob(f"*p{port}_{way}.pcap")
    times, packets = read_capture(path, lanes)
    iteration = packets["seq"].astype(np.int64) // fragments
    return {int(i): times[iteration == i] for i in np.unique(iteration)}
