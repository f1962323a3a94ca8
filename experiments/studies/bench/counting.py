"""One rank that moves an all-reduce's packets and adds nothing: what two cores leave to whoever reduces over them.

It sends as many packets, as long, of as many at a time as a worker's; the forwarder answers each; and nobody looks at
what is in them. Prints "ready", reads a line, prints {"seconds": [...], "lost": packets that no answer came to}.
"""

from __future__ import annotations

import json
import sys
import time

from esa.job import Job
from esa.native import native
from esa.net import MessageBatch, message_batch, open_udp_socket, poll_set, recv_batch, send_segmented, wait_ready
from esa.net.poll import PollSet
from esa.transport import fragments_of
from esa.wire import HEADER_BYTES
from experiments.studies.bench.worker import parser_of_a_rank

BATCH = 64
LOST_NS = 100_000_000  # what has not been answered after so long is lost, and sent once more


@native
def exchange(polled: PollSet, fd: int, out: MessageBatch, back: MessageBatch, packets: int, window: int) -> int:
    """Have `packets` answered, of which up to `window` are under way; return how many were lost, or the negative errno.

    out: rows of the packets' length. back: where answers are received.
    """
    answered, waiting, lost = 0, 0, 0
    while answered < packets:
        count = min(window - waiting, packets - answered - waiting, len(out.length))
        if count > 0:
            sent = send_segmented(fd, out, 0, count)
            if sent < 0:
                return int(sent)
            waiting += sent
        received = recv_batch(fd, back, 0, len(back.length))
        if received < 0:
            return int(received)
        if received == 0 and wait_ready(polled, LOST_NS) == 0:
            lost += waiting
            waiting = 0
        # An answer that comes after all is of one that was sent again.
        answered += received
        waiting = max(waiting - received, 0)
    return lost


def main() -> None:
    options = parser_of_a_rank("counting", __doc__).parse_args()
    job = Job.load(options.job)
    me = job.workers[options.rank]
    octets = HEADER_BYTES + 4 * job.lanes
    out, back = message_batch(BATCH, octets, segments=True), message_batch(BATCH, octets)
    out.length[:] = octets
    packets = fragments_of(options.values, job.lanes)
    with open_udp_socket((str(me.ip), me.udp_port), (str(job.server.ip), job.server.udp_port)) as sock:
        fd = sock.fileno()
        polled = poll_set([fd])
        exchange(polled, fd, out, back, 0, job.window)  # compiled
        print("ready", flush=True)
        sys.stdin.readline()
        seconds, lost = [], 0
        for _ in range(options.warm_up + options.repeats):
            start = time.perf_counter()
            more = exchange(polled, fd, out, back, packets, job.window)
            if more < 0:
                raise OSError(-more, f"rank {options.rank}: packets to {job.server.ip} cannot be sent or received")
            seconds.append(time.perf_counter() - start)
            lost += more
    print(json.dumps({"seconds": seconds[options.warm_up :], "lost": lost}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
