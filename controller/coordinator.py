"""The coordinator: where the members of jobs on one switch meet to start a run, and learn that a peer has ended.

    with Coordinator(lambda: Switch.connect("127.0.0.1:9559"), SavedJobs.default_path()) as coordinator:
        coordinator.serve("127.0.0.1:9560")        # or unix:PATH, which network namespaces of one machine share

`room.py` says who is told what and when; `esa/coordination.py` is what goes over the connections, `member_stream.py`
one of these; here are threads: one thread that accepts, one per connection, one that looks at the switch once a second.

Whoever can connect can take part: like P4Runtime's, its port belongs into a management network, and it listens on
loopback unless told otherwise.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from controller.client import Switch
from controller.controller import Controller
from controller.job_counters import denied_in_words
from controller.member_stream import SEND_TIMEOUT_S, MemberStream
from controller.room import Room, Started, describe_difference
from controller.run_control import RunControl
from esa.coordination import (
    PS,
    Because,
    Cannot,
    FromMember,
    Hello,
    Leave,
    Ready,
    Refuse,
    Why,
    from_member,
)
from esa.entries.job_entries import InstalledJob
from esa.errors import BadInput, EsaError, SwitchError
from esa.job import Job
from esa.log import area, event
from esa.net.streams import listening_socket

_log = area("controller")
LOOK_S = 1.0
REMIND_AFTER_S, REMIND_EVERY_S = 5.0, 60.0
GONE_LOOKS = 5  # without a job on a switch that answers, until it is gone: a restarted switch gets its jobs back
LOST_LOOKS = 3  # without anybody of the run that the switch has, until it is taken for nobody's


class Coordinator:
    """Starts the runs of the jobs on one switch.

    connect: opens a connection to the switch; called again whenever one is lost. saved: the file of jobs that
    controllers keep. say: told in words which runs begin and end.
    """

    def __init__(
        self, connect: Callable[[], Switch], saved: Path | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self._connect = connect
        self._saved = saved
        self._say = say or (lambda _: None)
        self._lock = threading.RLock()  # guards all below
        self._switch: Switch | None = None
        self._rooms: dict[int, Room] = {}
        self._denied: dict[int, dict[str, int]] = {}  # by job: the switch's counts when its run began
        self._unseen: dict[int, int] = {}  # by job: looks at the switch that did not find it
        self._memory: dict[int, int] = {}  # by job: the switch's when its run was last seen there
        self._connections: set[MemberStream] = set()
        self._knocking: list[MemberStream] = []  # those that cannot come in yet
        self._attending: set[threading.Thread] = set()  # one to each connection
        self._listening: list[tuple[socket.socket, str]] = []
        self._closing = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="coordinator", daemon=True)
        self._ticker.start()

    def serve(self, address: str) -> str:
        """Accept members at HOST:PORT (port 0: any) or unix:PATH; return the address. BadInput if it cannot."""
        sock, address = listening_socket(address)
        with self._lock:
            self._listening.append((sock, address))
        threading.Thread(target=self._accept, args=(sock,), name="coordinator-accept", daemon=True).start()
        return address

    def close(self) -> None:
        """Stop. Runs that are under way go on: members come back to whoever serves the address next."""
        self._closing.set()
        self._ticker.join()
        with self._lock:
            for sock, address in self._listening:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
                path = Path(address.removeprefix("unix:"))
                if address.startswith("unix:") and path.exists() and stat.S_ISSOCK(path.stat().st_mode):
                    path.unlink()
            for connection in list(self._connections):
                connection.close()
            self._disconnect()
            attending = list(self._attending)
        for thread in attending:
            thread.join(SEND_TIMEOUT_S)

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Connections

    def _accept(self, sock: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                accepted, _ = sock.accept()
            except OSError:
                return
            with self._lock:
                if self._closing.is_set():
                    accepted.close()
                    return
                connection = MemberStream(accepted)
                self._connections.add(connection)
                attending = threading.Thread(
                    target=self._attend, args=(connection,), name="coordinator-member", daemon=True
                )
                self._attending.add(attending)
                attending.start()

    def _attend(self, connection: MemberStream) -> None:
        """Listen to one member until it ends."""
        try:
            for line in connection.lines():
                message = from_member(line)
                with self._lock:
                    self._take(connection, message)
        except (ValidationError, ValueError) as error:
            connection.send(Refuse(why=f"the coordinator does not understand: {' '.join(str(error).split())[:200]}"))
        finally:
            with self._lock:
                if connection.room is not None and not self._closing.is_set():
                    connection.room.leave(connection, ok=False, why="it ended without a word")
                if connection in self._knocking:
                    self._knocking.remove(connection)
                self._connections.discard(connection)
                self._attending.discard(threading.current_thread())
            connection.close()

    def _take(self, connection: MemberStream, message: FromMember) -> None:
        if isinstance(message, Hello):
            connection.hello = message
            self._knock(connection)
        elif isinstance(message, Cannot):
            self._cannot(message)
        elif connection in self._knocking:
            if isinstance(message, Why):
                connection.send(Because(text=connection.kept_out))
            else:
                connection.unheard.append(message)
        elif connection.room is None:
            if not isinstance(message, Leave):  # who was refused may say so
                raise ValueError("no hello")
        elif isinstance(message, Ready):
            connection.room.server_ready(connection, message.epoch)
        elif isinstance(message, Leave):
            connection.room.leave(connection, message.ok, message.why)
        elif isinstance(message, Why):
            connection.send(Because(text=self._because(connection.room)))

    def _knock(self, connection: MemberStream) -> None:
        """Bring a member into its job's room, or refuse it.

        A PS, and a worker whose run was on when it last heard of it, wait for a switch that is away or that is just
        being given back what it held.
        """
        hello = connection.hello
        assert hello is not None
        patient = hello.member == PS or hello.epoch is not None
        problem: EsaError
        try:
            installed, room = self._room(hello)
            if hello.member != PS and hello.epoch not in (None, installed.epoch) and room.epoch is None:
                installed = self._lost_run(connection, installed, hello)
        except _NotYet as error:
            connection.looks += 1
            problem, patient = error, patient and connection.looks < GONE_LOOKS
        except SwitchError as error:
            connection.looks = 0
            problem = error
            self._disconnect()
        except EsaError as error:
            problem, patient = error, False
        else:
            self._let_in(connection, hello, installed, room)
            return
        if patient:
            connection.kept_out = str(problem)
            if connection not in self._knocking:
                self._knocking.append(connection)
            return
        if connection in self._knocking:
            self._knocking.remove(connection)
        connection.send(Refuse(why=str(problem)))

    def _let_in(self, connection: MemberStream, hello: Hello, installed: InstalledJob, room: Room) -> None:
        if connection in self._knocking:
            self._knocking.remove(connection)
        if hello.epoch is not None and room.epoch is None and installed.epoch == hello.epoch:
            room.adopt(installed.epoch, installed.policy.name)
        connection.room = room
        room.enter(connection, hello)
        unheard, connection.unheard = connection.unheard, []
        for message in unheard:
            self._take(connection, message)

    def _lost_run(self, connection: MemberStream, installed: InstalledJob, hello: Hello) -> InstalledJob:
        """Put back the run of a member that comes back, if nobody is in the one that the switch has.

        Switch and control plane have both been started anew, and nobody else knows which run was on: the job has a new
        epoch. Its members, if there are any, come back, too, within one look or two; of several runs the newest counts.
        """
        newest = max(
            other.hello.epoch or 0
            for other in (*self._knocking, connection)
            if other.hello is not None and other.hello.job.job == installed.job
        )
        if connection.looks < LOST_LOOKS or hello.epoch is None or hello.epoch < newest:
            raise _NotYet(f"job {hello.job.name}: the run (epoch {hello.epoch}) has ended")
        resumed = self._controller().resume_run(installed.job, hello.epoch)
        self._say(f"job {hello.job.name}: its run, epoch {hello.epoch}, is on the switch again")
        return resumed

    def _cannot(self, message: Cannot) -> None:
        """Refuse a process that cannot take part in its job, so that nobody waits for it."""
        room = self._rooms.get(message.job.job)
        if room is not None:
            room.refuse_waiting(f"another process of the job cannot take part: {message.why}")

    def _room(self, hello: Hello) -> tuple[InstalledJob, Room]:
        job = hello.job
        controller = self._controller()
        installed = next((found for found in controller.jobs() if found.job == job.job), None)
        if installed is None:
            raise _NotYet(
                f"job {job.name} (number {job.job}) is not on the switch at {controller.address}: "
                "add it first (esactl job add JOB.json)"
            )
        if controller.lanes != job.lanes:
            raise BadInput(f"lanes: job {job.name} has {job.lanes}, the switch runs the {controller.lanes}-lane build")
        room = self._rooms.get(job.job)
        saved = controller.saved(installed)
        if room is not None and room.idle and _is_another(room.job, installed, saved):
            room.dismiss(f"job {room.job.name}: its number, {job.job}, is another job's on the switch now")
        if room is None or room.empty:
            known = saved or job
            if known.members != installed.members:
                raise BadInput(f"job {job.name}: its members are not those of job {job.job} on the switch")
            room = self._rooms[job.job] = Room(known, lambda: self._begin(known), lambda: self._ended(known))
        return installed, room

    # Runs

    def _begin(self, job: Job) -> Started:
        self._memory[job.job] = self._controller().memory()
        started = self._controller().start_run(job.job)
        self._denied[job.job] = self._controller().denied_by_reason()
        self._say(f"job {job.name}: a run begins, epoch {started.epoch}, {started.policy.name}")
        event(_log, logging.INFO, "a run begins", job=job.name, epoch=started.epoch, policy=started.policy.name)
        return Started(started.epoch, started.policy.name, started.pool)

    def _ended(self, job: Job) -> None:
        self._say(f"job {job.name}: its run has ended")
        with contextlib.suppress(EsaError):  # the job may have been removed
            self._controller().end_run(job.job)

    def _because(self, room: Room) -> str:
        """Return what the switch shows that may keep results from a run."""
        try:
            now = self._controller().denied_by_reason()
        except SwitchError as error:
            return f"the switch does not answer: {error}"
        return denied_in_words(self._denied.get(room.job.job, {}), now)

    # The switch

    def _controller(self) -> RunControl:
        if self._switch is None:
            self._switch = self._connect()
        return Controller(self._switch, self._saved)

    def _disconnect(self) -> None:
        if self._switch is not None:
            self._switch.close()
            self._switch = None

    def _tick(self) -> None:
        remind_at: dict[int, float] = {}
        while not self._closing.wait(LOOK_S):
            with self._lock:
                if self._rooms:
                    self._look()
                for connection in list(self._knocking):
                    self._knock(connection)
                now = time.monotonic()
                for number, room in self._rooms.items():
                    if not room.waits:
                        remind_at.pop(number, None)
                    elif now >= remind_at.setdefault(number, now + REMIND_AFTER_S - LOOK_S):
                        room.remind()
                        remind_at[number] = now + REMIND_EVERY_S

    def _look(self) -> None:
        """Look whether jobs were changed or removed by somebody else."""
        try:
            memory = self._controller().memory()  # before the jobs: what is lost in between is seen at the next look
            there = {job.job: job for job in self._controller().jobs()}
        except SwitchError:
            self._disconnect()
            return
        for number, room in list(self._rooms.items()):
            if number in there:
                self._unseen.pop(number, None)
                self._compare(room, there[number], memory)
                continue
            self._unseen[number] = self._unseen.get(number, 0) + 1
            if self._unseen[number] >= GONE_LOOKS:
                room.close(f"job {room.job.name} was taken off the switch")
                del self._unseen[number]
                if room.empty:  # else a PS waits for the job to come back
                    del self._rooms[number]

    def _compare(self, room: Room, installed: InstalledJob, memory: int) -> None:
        """Follow what others did to the job on the switch while its run is on.

        A restarted switch gets back what it held when the supervisor last looked, maybe before this run began; or, if
        it had not seen the job by then, the job anew, with an epoch that may be older or newer.
        """
        room.policy_changed(installed.policy.name)
        if room.epoch is None:
            return
        if room.epoch == installed.epoch:
            self._memory[installed.job] = memory
            return
        if installed.epoch > room.epoch and self._memory.get(installed.job) == memory:
            room.close(f"job {room.job.name}: another controller has started a newer run of it")
            return
        with contextlib.suppress(EsaError):  # the next look tries again
            self._controller().resume_run(installed.job, room.epoch)
            self._say(f"job {room.job.name}: its run, epoch {room.epoch}, is on the switch again")


def _is_another(job: Job, installed: InstalledJob, saved: Job | None) -> bool:
    """Return whether what the switch has under the number of `job` is not that job."""
    return job.members != installed.members or (saved is not None and describe_difference(job, saved) != "")


class _NotYet(BadInput):
    """The switch may be given it in a moment."""
