"""What virtual time cannot know of a job, measured in a real run: how long its workers compute, and their priorities.

    measured = calibration(folder, scenario, job=0, fragments=117)  # of a run whose switch captured every packet

A worker computes, as the network sees it, from its last sum of an iteration to its next fragment. What the program says
of itself (`compute_s`) leaves out waking up, copying and quantising, for which the network waits just as well; nor does
it say how far apart workers are, which decides how long rows of a switch are held.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esa.errors import EsaError
from esa.wire import ENCAPSULATION_BYTES, ESA_PORT, packet_bytes, packet_dtype
from experiments.live.places import places
from experiments.specs.scenario import Scenario

CAPTURES = "pcaps"  # in a run's folder
MAX_JITTER = 0.99
_RECORD = struct.Struct("<IIII")
_FILE_HEADER_BYTES = 24
_UDP_AT = ENCAPSULATION_BYTES - 8


class CalibrationError(EsaError, RuntimeError):
    """Captures that do not hold what was to be measured; one line."""


@dataclass(frozen=True)
class Measured:
    """Of one job: mean seconds of computing in an iteration, how far they vary, and each iteration's priority.

    Each computation takes 1 - jitter to 1 + jitter times as long, all factors equally likely: the standard deviation is
    that of the measured ones, as far as such factors go. priority: the workers' highest, as the switch keeps it.
    """

    computing_s: float
    jitter: float
    priority: tuple[int, ...]


def calibration(folder: Path, scenario: Scenario, job: int, fragments: int) -> Measured:
    """Of the `job`-th job, whose iterations are one bucket of `fragments` fragments.

    CalibrationError where the captures do not hold all of the training.
    """
    spec = scenario.jobs[job]
    each_s, priorities = [], []
    for host in places(scenario)[spec.name][:-1]:
        port = host + 1
        sent, results = (_by_iteration(folder, port, way, scenario.lanes, fragments) for way in ("in", "out"))
        last = max(sent, default=-1)
        training = range(last - spec.iterations + 1, last + 1)  # warming up came before it
        if training.start < 0 or any(i not in sent or i not in results for i in training):
            raise CalibrationError(
                f"{folder}: port {port} has not seen {spec.iterations} iterations of job {spec.name}"
            )
        each_s += [(sent[i + 1][0].min() - results[i][0].max()) / 1e9 for i in training[:-1]]
        priorities.append([int(sent[i][1]["priority"].max()) for i in training])
    mean_s = float(np.mean(each_s))
    if mean_s <= 0:
        raise CalibrationError(f"{folder}: job {spec.name} sent an iteration before it had the sums of the last one")
    jitter = min(MAX_JITTER, math.sqrt(3) * float(np.std(each_s)) / mean_s)
    return Measured(mean_s, jitter, tuple(map(max, zip(*priorities, strict=True))))


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


def _by_iteration(
    folder: Path, port: int, way: str, lanes: int, fragments: int
) -> dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.void]]]:
    """What a port received ("in") or sent ("out"), by iteration: times, packets."""
    paths = list((folder / CAPTURES).glob(f"*p{port}_{way}.pcap"))
    if len(paths) != 1:
        raise CalibrationError(f"{folder / CAPTURES}: {len(paths)} captures of port {port}, {way}; there should be one")
    times, packets = read_capture(paths[0], lanes)
    iteration = packets["seq"].astype(np.int64) // fragments
    return {int(i): (times[iteration == i], packets[iteration == i]) for i in np.unique(iteration)}
