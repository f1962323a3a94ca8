"""A member's connection to the coordinator: joining a run, leaving it, and news of the others.

    membership = Membership.join(address, Hello(job=job, member=0))
    membership.run                    # the job with its epoch, under the policy that the switch has for it
    membership.leave(ok=True)
    membership.close()

A connection that breaks is made anew for as long as it takes, and says which run this is: a coordinator may be
restarted while jobs run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from esa.coordination import (
    MAX_LINE,
    PS,
    Because,
    Finished,
    FromMember,
    Hello,
    Leave,
    Left,
    Notice,
    Ready,
    Refuse,
    Start,
    ToMember,
    Why,
    encode,
    to_member,
)
from esa.errors import BadInput, JoinError
from esa.job import Job, Run
from esa.log import area, event
from esa.net.streams import connected_socket

_log = area("hosts")
ADDRESS_VARIABLE = "ESA_CONTROLLER"
CONNECT_TIMEOUT_S = 5.0
PATIENCE_S = 10.0  # for a coordinator that is just starting
JOIN_TIMEOUT_S = 300.0
AGAIN_S = 0.5  # between attempts to reach a coordinator that is gone
WHY_TIMEOUT_S = 1.0


def coordinator_address(given: str | None) -> str:
    """Return the address given, or that of the environment; BadInput if there is none."""
    address = given or os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise BadInput(
            f"controller: who starts the runs is not known: give its address, or set {ADDRESS_VARIABLE} "
            "(esa launch does; esa up and esactl supervise print it)"
        )
    return address


def say(text: str, **fields: object) -> None:
    """Print a line for the person who looks at this process; `fields`: for the log, as job and epoch."""
    print(f"esa: {text}", file=sys.stderr, flush=True)
    event(_log, logging.INFO, text, **fields)


def tell(address: str, message: FromMember) -> None:
    """Send one message to the coordinator, if it is there."""
    with contextlib.suppress(OSError), connected_socket(address, CONNECT_TIMEOUT_S) as sock:
        sock.sendall(encode(message))


class Membership:
    """One member of a job, as the coordinator knows it.

    heed: called with every message that comes, by a thread of this object's.
    """

    def __init__(self, address: str, hello: Hello, heed: Callable[[ToMember], None] | None = None) -> None:
        self.address = address
        self._hello = hello.model_copy(update={"process": f"{socket.gethostname()}:{os.getpid()}"})
        self._heed = heed or (lambda _: None)
        self._sending = threading.Lock()  # guards the socket
        self._news = threading.Condition()  # guards what follows
        self._answer: Start | Refuse | None = None
        self._end: Finished | Left | Refuse | None = None  # of the run
        self._on_end: Callable[[Finished | Left | Refuse], None] | None = None
        self._because: str | None = None
        self.left_in_order: set[int] = set()  # members that have all they want, and send nothing new
        self._closing = threading.Event()
        self._socket = self._first_connection()
        self._send(self._hello)
        self._thread = threading.Thread(target=self._listen, name=f"{hello.job.name}-membership", daemon=True)
        self._thread.start()

    @classmethod
    def join(cls, address: str, hello: Hello, timeout_s: float = JOIN_TIMEOUT_S) -> Membership:
        """Take part in the job's next run, and wait until it starts; JoinError says in one line why it does not."""
        membership = cls(address, hello)
        try:
            membership._until_started(timeout_s)
        except BaseException:
            membership.close()
            raise
        return membership

    def on_end(self, told: Callable[[Finished | Left | Refuse], None]) -> None:
        """Call `told` when the run ends, because all have left in good order, or one otherwise; at once if it has."""
        with self._news:
            self._on_end = told
            end = self._end
        if end is not None:
            told(end)

    @property
    def job(self) -> Job:
        return self._hello.job

    @property
    def _name(self) -> int | str:
        return "ps" if self._hello.member == PS else self._hello.member

    @property
    def run(self) -> Run:
        """The run that was started, on the rows that it started with."""
        if not isinstance(self._answer, Start):
            raise JoinError(f"job {self.job.name}: no run has started")
        changes = {"policy": self._answer.policy, "pool": self._answer.pool or self.job.pool}
        return self.job.model_copy(update=changes).run(self._answer.epoch)

    def ready(self, epoch: int) -> None:
        """Tell the coordinator that the PS listens for this run."""
        self._hello = self._hello.model_copy(update={"epoch": epoch})
        self._send(Ready(epoch=epoch))

    def leave(self, *, ok: bool, why: str = "", wait_s: float = 0.0) -> bool:
        """Tell the coordinator that this member ends; `ok`: with all that it wanted.

        Waits until the run is over, that is, until all have left, and returns whether it is.
        """
        epoch = self._hello.epoch
        event(
            _log,
            logging.INFO,
            "leaves the run",
            job=self.job.name,
            epoch=epoch,
            rank=self._name,
            ok=ok,
            why=why or None,
        )
        self._send(Leave(ok=ok, why=why[:2000]))
        with self._news:
            return self._news.wait_for(lambda: self._end is not None, wait_s)

    def why(self) -> str:
        """Return what the switch shows that may keep results from this member; empty: nothing, or no answer."""
        with self._news:
            self._because = None
            self._send(Why())
            self._news.wait_for(lambda: self._because is not None, WHY_TIMEOUT_S)
            return self._because or ""

    def close(self) -> None:
        """Hang up. The coordinator takes it for an end without a word unless `leave` was called."""
        self._closing.set()
        with self._sending, contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._socket.close()

    def _first_connection(self) -> socket.socket:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return connected_socket(self.address, CONNECT_TIMEOUT_S)
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise JoinError(
                        f"job {self.job.name}: nobody who starts runs answers at {self.address}"
                        f" ({error.strerror or error}): is the controller there (esactl supervise, esa up)?"
                    ) from None
            time.sleep(AGAIN_S / 5)

    def _until_started(self, timeout_s: float) -> None:
        with self._news:
            if not self._news.wait_for(lambda: self._answer is not None, timeout_s):
                raise JoinError(f"job {self.job.name}: no run started within {timeout_s:g} s; not all members came")
            if isinstance(self._answer, Refuse):
                raise JoinError(self._answer.why)

    def _send(self, message: FromMember) -> None:
        # A broken connection is the listener's concern.
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(encode(message))

    def _listen(self) -> None:
        while True:
            with self._socket.makefile("rb") as stream, contextlib.suppress(OSError):
                while (line := stream.readline(MAX_LINE)).endswith(b"\n"):
                    self._take(to_member(line))
            if not self._come_back():
                return

    def _come_back(self) -> bool:
        """Connect again; return False where there is nothing to come back to."""
        with self._news:
            if self._answer is None and self._hello.member != PS:  # whoever waits for the start shall know
                self._answer = Refuse(why=f"job {self.job.name}: the controller at {self.address} has gone away")
                self._news.notify_all()
            if isinstance(self._answer, Refuse) or self._end is not None:
                return False
        while not self._closing.wait(AGAIN_S):
            try:
                fresh = connected_socket(self.address, CONNECT_TIMEOUT_S)
            except OSError:
                continue
            with self._sending:
                self._socket.close()
                self._socket = fresh
            self._send(self._hello)
            return True
        return False

    def _take(self, message: ToMember) -> None:
        told = None
        with self._news:
            if isinstance(message, Start):
                self._answer = message
                fields = {"job": self.job.name, "epoch": message.epoch, "rank": self._name, "policy": message.policy}
                event(_log, logging.INFO, "a run begins", **fields)
                if self._hello.member != PS:  # the PS says it when it listens
                    self._hello = self._hello.model_copy(update={"epoch": message.epoch})
            elif isinstance(message, Refuse) and self._answer is None:
                self._answer = message
            elif isinstance(message, Finished | Refuse) or (isinstance(message, Left) and self._ends_run(message)):
                self._end, told = message, self._on_end
            elif isinstance(message, Left) and message.ok:
                self.left_in_order.add(message.member)
            elif isinstance(message, Because):
                self._because = message.text
            self._news.notify_all()
        if isinstance(message, Notice):
            say(message.text, job=self.job.name)
        self._heed(message)
        if told is not None:
            told(message)  # type: ignore[arg-type]

    @staticmethod
    def _ends_run(message: Left) -> bool:
        return not message.ok and message.member != PS
