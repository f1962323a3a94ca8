"""A worker that has outlived its run: for a while it goes on sending fragments under that run's epoch.

    python -m experiments.live.outlived --job job.json --rank 0 --epoch 17 --seconds 1

Its address may be in use again, by the rank that has come in its place; so it sends past the socket (needs root).
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esa.job import Job
from esa.wire import Flag, Kind, aggregator_index, packet_dtype, version_kind

FRAGMENTS = 2000  # as a run that has just begun has
BURST, PAUSE_S = 8, 0.002


def fragments(job: Job, rank: int, epoch: int) -> npt.NDArray[np.void]:
    """GRADIENTs of a rank, every fourth a RESEND, of the highest priority; nobody should add what they hold."""
    made = np.zeros(FRAGMENTS, packet_dtype(job.lanes))
    made["version_kind"] = version_kind(Kind.GRADIENT)
    made["priority"] = 255
    made["flags"][::4] = Flag.RESEND
    made["job"], made["epoch"] = job.job, epoch
    made["seq"] = np.arange(FRAGMENTS)
    made["index"] = [aggregator_index(job.job, epoch, seq) for seq in range(FRAGMENTS)]
    rack, bit = job.place(rank)
    made["bitmap0"], made["bitmap1"] = 1 << bit, 1 << rack
    made["lane"] = 1_000_003
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.live.outlived", description=__doc__.splitlines()[0])
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    job = Job.load(options.job)
    me = job.workers[options.rank]
    made = fragments(job, options.rank, options.epoch)
    sent, until = 0, time.monotonic() + options.seconds
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        sock.bind((str(me.ip), 0))
        while time.monotonic() < until:
            for packet in made.take(range(sent, sent + BURST), mode="wrap"):
                header = struct.pack("!HHHH", me.udp_port, job.server.udp_port, 8 + packet.nbytes, 0)
                sock.sendto(header + packet.tobytes(), (str(job.server.ip), 0))
            sent += BURST
            time.sleep(PAUSE_S)
    print(sent, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
