"""A worker on a UDP socket: all-reduces in, sums out, one engine thread that spends its life in native code."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import closing
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.coordination import Finished, Left, Refuse
from esa.errors import AllReduceError, MemberLeft
from esa.hosts.channel import (
    BATCH,
    Channel,
    Waker,
    fatal,
    injected,
    open_channel,
    receive,
    send_all,
    void_wrong_lengths,
    wait,
)
from esa.hosts.counted import CountLog
from esa.hosts.errors import no_sum
from esa.hosts.membership import Membership
from esa.hosts.operations import CAPACITY, Operations, drain, feed, operations
from esa.hosts.packet_log import PacketLog, packets_wanted
from esa.hosts.waiting import Occasion, OtherRuns, Watch, ranks_of, what_is_waited_for
from esa.job import Job, Run
from esa.log import area, event
from esa.native import native
from esa.net import MessageBatch, message_batch, monotonic_ns, open_udp_socket, set_peer
from esa.net.impairment import LinkFaults
from esa.protocol import (
    Timers,
    Waiting,
    WorkerState,
    server_number,
    worker_receive,
    worker_send,
    worker_state,
    worker_waiting,
)
from esa.protocol.of_job import worker_of_job
from esa.protocol.rtt import NS_PER_S
from esa.transport import Reduced, SumTimes, fragments_of

_log = area("hosts")

Lanes = npt.NDArray[np.int32]
Exponents = npt.NDArray[np.int8]


class _Submission(NamedTuple):
    source: Lanes
    target: Lanes
    priority: int
    exponents: Exponents
    merged: Exponents
    future: Future[Reduced]


@native
def _void_strangers(channel: Channel, servers: MessageBatch, count: int) -> None:
    """Give messages that are of none of several PSs a version that does not exist, so that the protocol drops them."""
    for i in range(count):
        known = False
        for server in range(len(servers.peer)):
            known = known or (
                channel.inbox.peer[i, 1] == servers.peer[server, 1]
                and channel.inbox.peer[i, 0] == servers.peer[server, 0]
            )
        if not known:
            channel.inbox.data[i, 0] = 0


@native
def _address(channel: Channel, servers: MessageBatch, count: int) -> None:
    """Send packets 0..count-1 each to the PS of its seq."""
    for i in range(count):
        number = server_number(channel.packets_out, i, len(servers.peer))
        channel.outbox.peer[i, 0] = servers.peer[number, 0]
        channel.outbox.peer[i, 1] = servers.peer[number, 1]


@native
def _run(channel: Channel, servers: MessageBatch, operations: Operations, state: WorkerState, failed: int) -> int:
    """Move packets until an operation completes, the worker fails or closes; return 0 or a negative errno.

    servers: the addresses of the job's PSs. failed: whether the caller knows already that it has failed; it may fail
    between two calls.
    """
    progress = operations.progress[0]
    completed = progress["completed"]
    while True:
        received = receive(channel)
        if received < 0:
            if fatal(received):
                return received
            received = 0
        now_ns = monotonic_ns()
        if received:
            void_wrong_lengths(channel, received)
            if len(servers.peer) > 1:
                _void_strangers(channel, servers, received)
            worker_receive(state, channel.packets_in, received, now_ns)
        if not failed:  # else the arrays are their owners' again
            drain(operations, state, now_ns)
            feed(operations, state, now_ns)
        sending, until_ns = worker_send(state, channel.packets_out, now_ns)
        if len(servers.peer) > 1:
            _address(channel, servers, sending)
        error = send_all(channel, sending)
        if error:
            return error
        if progress["completed"] != completed or state.worker[0]["failed"] != failed or progress["closing"]:
            return 0
        if received < BATCH and until_ns > now_ns:
            wait(channel, until_ns)


def open_worker_socket(job: Job, rank: int) -> socket.socket:
    """A worker's socket; OSError if its address cannot be opened.

    With one PS the kernel sees to it that it hears nobody else.
    """
    me, peer = job.workers[rank], (str(job.server.ip), job.server.udp_port)
    return open_udp_socket((str(me.ip), me.udp_port), None if job.more_servers else peer)


class WorkerEndpoint:
    """Worker `rank` of a run: sums arrays with its peers. Answers its peers' questions until it is closed.

    `join` makes one that is a member of a run, as scripts want it. Without a membership somebody else sees to it that
    all workers have the same run, and that none is closed before every worker has its last sum: until then a peer may
    need what this one knows. Where it waits for long it says so, and for whom.

    sock: the worker's address, opened; by default it is opened here (OSError if that is not possible). timers: when it
    asks again. faults: what its link does to packets on purpose.
    """

    def __init__(
        self,
        job: Run,
        rank: int,
        *,
        sock: socket.socket | None = None,
        membership: Membership | None = None,
        timers: Timers | None = None,
        faults: LinkFaults | None = None,
    ):
        if not 0 <= rank < job.fan_in:
            raise ValueError(f"rank: job {job.name} has ranks 0..{job.fan_in - 1}, not {rank}")
        if job.lanes == 0:
            raise ValueError(f"job {job.name}: 0 lanes carry nothing; payload-free jobs are for virtual time")
        self.job = job
        self.rank = rank
        self.size = job.fan_in
        self.fragment_lanes = job.lanes
        self._state = worker_of_job(job, rank, timers or Timers())
        self._operations = operations()
        self._lock = threading.Lock()
        self._waiting: deque[_Submission] = deque()  # for room in `operations`
        self._running: deque[_Submission] = deque()
        self._error: BaseException | None = None
        self._aborted: BaseException | None = None  # why somebody else wants this worker to fail
        self.compile()
        self._socket = sock or open_worker_socket(job, rank)
        self._servers = message_batch(len(job.servers), 1)
        for number, server in enumerate(job.servers):
            set_peer(self._servers, number, int(server.ip), server.udp_port)
        self._waker = Waker()
        self._channel = open_channel(self._socket, self._waker, job.lanes, faults)
        self._fields = {"job": job.name, "epoch": job.epoch, "rank": rank}
        self._run = PacketLog(self._state.counter, **self._fields).worker(_run) if packets_wanted() else _run
        self._thread = threading.Thread(target=self._engine, name=f"{job.name}-worker-{rank}", daemon=True)
        self._thread.start()
        self._membership = membership
        self._occasion, self._other_runs = Occasion(), OtherRuns()
        self._counts = CountLog(**self._fields)
        self._watch = Watch(f"{job.name}-worker-{rank}-watch", self._look)
        if membership is not None:
            membership.on_end(self._run_ended)

    @staticmethod
    def compile() -> None:
        """Compile what moves packets, or load it from the cache: before a peer waits for it."""
        with closing(Waker()) as waker, closing(open_udp_socket(("127.0.0.1", 0))) as sock:
            ended = operations()
            ended.progress[0]["closing"] = 1
            state = worker_state(job=1, epoch=0, rank=0, window=1, lanes=64)
            channel, peer = open_channel(sock, waker, 64), message_batch(1, 1)
            _run(channel, peer, ended, state, 0)
            if packets_wanted():  # then each part is called by itself
                worker_receive(state, channel.packets_in, 0, 0)
                PacketLog(state.counter).worker(_run)(channel, peer, ended, state, 0)
                wait(channel, 0)

    def all_reduce(
        self, lanes: Lanes, priority: int = 128, exponents: Exponents | None = None, *, out: Lanes | None = None
    ) -> Future[Reduced]:
        """Sum `lanes` with the other workers' k-th arrays, where this is the k-th call; they must be equally long.

        lanes: (n,) int32, contiguous, not to be changed before the future is done. priority: 1..255.
        exponents: (`fragments_of(n)`,) int8, contiguous, one per fragment of `fragment_lanes` lanes, kept as long;
        None: zeros. An empty array is one fragment, too, and carries its exponent alone.
        out: where the sum goes; `lanes` itself is allowed.
        The future raises AllReduceError when the worker gives up; then so do all later ones.
        """
        for name, array in (("lanes", lanes), ("out", lanes if out is None else out)):
            if array.dtype != np.int32 or array.ndim != 1 or not array.flags.c_contiguous:
                raise ValueError(f"{name}: a contiguous (n,) int32 array, not {array.dtype} {array.shape}")
        if out is not None and (len(out) != len(lanes) or not out.flags.writeable):
            raise ValueError(f"out: a writeable array of {len(lanes)} lanes, not of {len(out)}")
        if not 1 <= priority <= 255:
            raise ValueError(f"priority: {priority} is not in 1..255")
        fragments = fragments_of(len(lanes), self.fragment_lanes)
        if exponents is None:
            exponents = np.zeros(fragments, np.int8)
        elif exponents.dtype != np.int8 or exponents.shape != (fragments,) or not exponents.flags.c_contiguous:
            raise ValueError(
                f"exponents: a contiguous ({fragments},) int8 array, one for each fragment, "
                f"not {exponents.dtype} {exponents.shape}"
            )
        target = np.empty_like(lanes) if out is None else out
        future: Future[Reduced] = Future()
        future.set_running_or_notify_cancel()  # what is on the wire cannot be called back
        with self._lock:
            if self._error is not None:
                future.set_exception(self._error)
                return future
            self._waiting.append(_Submission(lanes, target, priority, exponents, np.empty(fragments, np.int8), future))
            self._submit()
        return future

    def _submit(self) -> None:
        """Move submissions into the engine's ring as long as there is room. The lock is held."""
        progress = self._operations.progress[0]
        while self._waiting and len(self._running) < CAPACITY:
            submission = self._waiting.popleft()
            self._running.append(submission)
            operation = self._operations.operation[progress["submitted"] % CAPACITY]
            operation["source"] = submission.source.ctypes.data
            operation["target"] = submission.target.ctypes.data
            operation["lanes"] = len(submission.source)
            operation["source_exponents"] = submission.exponents.ctypes.data
            operation["target_exponents"] = submission.merged.ctypes.data
            operation["fragments"] = len(submission.exponents)
            operation["taken"] = operation["given"] = 0
            operation["priority"] = submission.priority
            progress["submitted"] += 1
        self._waker.wake()

    def _engine(self) -> None:
        progress = self._operations.progress[0]
        done = 0
        while not progress["closing"]:
            error = self._run(self._channel, self._servers, self._operations, self._state, int(self._error is not None))
            while done < progress["completed"]:
                times = self._times(done)
                with self._lock:
                    submission = self._running.popleft()
                    done += 1
                    if self._waiting:
                        self._submit()
                submission.future.set_result(Reduced(submission.target, submission.merged, times))
            if error:
                self._fail(OSError(-error, f"job {self.job.name}, rank {self.rank}: {os.strerror(-error)}"))
                return
            if self._state.worker[0]["failed"] and self._error is None:
                if self._aborted is not None:
                    self._fail(self._aborted)
                    continue
                waiting = worker_waiting(self._state, monotonic_ns())
                assert waiting is not None
                self._fail(no_sum(self.job, self.rank, waiting, self._explanation()))

    def _times(self, number: int) -> SumTimes:
        """Of an operation that is complete, and whose place no other has taken yet."""
        operation = self._operations.operation[number % CAPACITY]
        return SumTimes(*(int(operation[f"{name}_ns"]) / NS_PER_S for name in SumTimes._fields))

    def _explanation(self) -> str | None:
        """Return what the switch shows that may be the cause, if the coordinator knows."""
        return (self._membership.why() or None) if self._membership is not None else None

    def _look(self) -> list[str]:
        """Return what a person should hear now, a line each."""
        lines = []
        worker, now_ns = self._state.worker[0], monotonic_ns()
        waiting = worker_waiting(self._state, now_ns)
        seq = None if waiting is None else waiting.seq
        self._counts.look(self._state.counter, seq)
        if waiting is not None and not worker["failed"]:
            self._check_peers_that_left(waiting)
        if waiting is not None and not worker["failed"] and self._occasion.has_come(waiting, now_ns):
            what = what_is_waited_for(self.job, waiting, self._explanation())
            waited_s = (now_ns - waiting.since_ns) // NS_PER_S
            lines.append(f"waits {waited_s} s for fragment {waiting.seq}: {what}")
        other = int(worker["other_run"])
        if self._other_runs.is_new(other):
            lines.append(f"refuses packets of run (epoch) {other}; this is run {self.job.epoch}")
        for line in lines:
            event(_log, logging.WARNING, line, **self._fields, seq=seq)
        return [f"job {self.job.name}, rank {self.rank}: {line}" for line in lines]

    def _check_peers_that_left(self, waiting: Waiting) -> None:
        """Fail for a peer that has left in good order and is missing in a sum: it will never bring its part."""
        if self._membership is None:
            return
        lacking = {*ranks_of(self.job, waiting.silent), *ranks_of(self.job, waiting.computing)}
        gone = tuple(sorted(lacking & self._membership.left_in_order))
        if gone:
            who = ", ".join(f"rank {rank} ({self.job.workers[rank].ip})" for rank in gone)
            text = f"{who} left the run in good order, with fewer all-reduces than this rank"
            text = f"job {self.job.name}, rank {self.rank}: {text}"
            self.abort(MemberLeft(text, job=self.job.name, rank=self.rank, seq=waiting.seq, missing=gone))

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = error
            lost = [*self._running, *self._waiting]
            self._waiting.clear()
        for submission in lost:
            if not submission.future.done():
                submission.future.set_exception(error)

    def waiting_ns(self) -> int:
        """Return for how long nothing has come of what is waited for; 0: nothing is waited for."""
        now_ns = monotonic_ns()
        waiting = worker_waiting(self._state, now_ns)
        return 0 if waiting is None else max(0, now_ns - waiting.since_ns)

    def stats(self) -> dict[str, float]:
        """Return counts since the start, the smoothed round trip and the window."""
        counter, worker = self._state.counter[0], self._state.worker[0]
        return {
            **{name: int(counter[name]) for name in self._state.counter.dtype.names or ()},
            "refused": int(self._channel.refused[0]),
            "srtt_us": float(worker["srtt_ns"]) / 1000,
            "window": float(min(worker["cwnd"], worker["agg_window"])),
        }

    def faults(self) -> dict[str, dict[str, int]]:
        """Return what was done to packets on purpose since the start, by direction; empty if nothing was asked for."""
        return injected(self._channel)

    def abort(self, error: BaseException) -> None:
        """End every all-reduce that has no sum yet, and all later ones, with `error`; go on answering peers."""
        self._aborted = error
        self._state.worker[0]["failed"] = 1
        self._waker.wake()

    def _run_ended(self, end: Finished | Left | Refuse) -> None:
        job, rank, seq = self.job, self.rank, int(self._state.worker[0]["snd_una"]) & 0xFFFFFFFF
        if isinstance(end, Left):
            who = f"rank {end.member} ({job.workers[end.member].ip})"
            text = f"job {job.name}, rank {rank}: {who} has ended: {end.why or 'it did not say why'}"
            self.abort(MemberLeft(text, job=job.name, rank=rank, seq=seq, missing=(end.member,)))
        elif isinstance(end, Refuse):
            self.abort(AllReduceError(f"job {job.name}, rank {rank}: {end.why}", job=job.name, rank=rank, seq=seq))

    def close(self, why: str | None = None) -> None:
        """Stop. What has no sum yet ends with an error.

        A member of a run says that it ends. In good order (`why` is None, and it had no error) it first stays, for up
        to the job's `give_up_s`, until every worker has all its sums: a peer may need what this one knows.
        """
        if self._operations.progress[0]["closing"]:
            return
        if self._membership is not None:
            why = why if self._error is None else str(self._error)
            self._membership.leave(ok=why is None, why=why or "", wait_s=self.job.give_up_s if why is None else 0.0)
            self._membership.close()
        self._operations.progress[0]["closing"] = 1
        self._waker.wake()
        self._thread.join()
        self._watch.close()
        if self._error is None:
            self._fail(RuntimeError(f"job {self.job.name}, rank {self.rank}: the worker was closed"))
        self._socket.close()
        self._waker.close()

    def __enter__(self) -> WorkerEndpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(None if error is None else f"{type(error).__name__}: {error}".rstrip(": "))
