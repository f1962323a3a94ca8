"""Which P4Runtime client may write: sessions, election ids, roles (P4Runtime 1.4, section 5)."""

from __future__ import annotations

import queue
import threading
from typing import Any

from esa.p4runtime import p4runtime_pb2
from esa.switch.p4runtime.status import Code, P4RuntimeError, code_number

MAX_SESSIONS = 32
# Packet-ins wait here for a slow client; beyond this many the newest is lost, as at any full queue.
MAX_QUEUED_MESSAGES = 4096


class Session:
    """One client's StreamChannel: who it is, and the messages on their way to it (None ends the stream)."""

    def __init__(self) -> None:
        self.role: str | None = None
        self.election_id: tuple[int, int] | None = None
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.error: P4RuntimeError | None = None

    @property
    def live(self) -> bool:
        """Whether the client has introduced itself."""
        return self.role is not None


class _Role:
    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.highest: tuple[int, int] | None = None

    def primary(self) -> Session | None:
        """The session with the highest election id ever seen, if it is still there: a lower one does not inherit."""
        if self.highest is None:
            return None
        return next((session for session in self.sessions if session.election_id == self.highest), None)


class Arbitration:
    """The sessions of one device; each role elects its own primary. Roles differ in name only: all have full access."""

    def __init__(self, device_id: int) -> None:
        self.device_id = device_id
        self._roles: dict[str, _Role] = {}
        self._lock = threading.RLock()

    def update(self, session: Session, update: Any) -> None:
        """Handle a MasterArbitrationUpdate; raises P4RuntimeError where the stream must end."""
        with self._lock:
            self._check_identity(session, update)
            name = update.role.name
            election_id = _election_id(update)
            role = self._roles.setdefault(name, _Role())
            others = [other for other in role.sessions if other is not session]
            if election_id is not None and any(other.election_id == election_id for other in others):
                raise P4RuntimeError(Code.INVALID_ARGUMENT, f"election id {election_id} is another live client's")
            if not session.live:
                if sum(len(each.sessions) for each in self._roles.values()) >= MAX_SESSIONS:
                    raise P4RuntimeError(Code.RESOURCE_EXHAUSTED, f"{MAX_SESSIONS} clients are connected already")
                role.sessions.append(session)
                session.role = name
            was_primary = role.primary() is session
            session.election_id = election_id
            if election_id is not None and (role.highest is None or election_id >= role.highest):
                role.highest = election_id
                self._notify(role, name, role.sessions)
            else:
                self._notify(role, name, role.sessions if was_primary else [session])

    def _check_identity(self, session: Session, update: Any) -> None:
        if session.live and (update.device_id != self.device_id or update.role.name != session.role):
            raise P4RuntimeError(Code.FAILED_PRECONDITION, "a session keeps its device id and role: open a new stream")
        self.check_device(update.device_id)
        if update.role.HasField("config"):
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT, "role.config: no role definitions here, every role has full access"
            )

    def remove(self, session: Session) -> None:
        """Forget a session whose stream has ended."""
        with self._lock:
            if session.role is None:
                return
            role = self._roles[session.role]
            was_primary = role.primary() is session
            role.sessions.remove(session)
            if was_primary:
                self._notify(role, session.role, role.sessions)

    def check_device(self, device_id: int) -> None:
        """NOT_FOUND unless `device_id` is this device's."""
        if device_id != self.device_id:
            raise P4RuntimeError(Code.NOT_FOUND, f"no device {device_id} here: this is device {self.device_id}")

    def check_primary(self, request: Any) -> None:
        """Let a WriteRequest or SetForwardingPipelineConfigRequest pass only if its sender is its role's primary."""
        self.check_device(request.device_id)
        with self._lock:
            role = self._roles.get(request.role)
            if role is None and request.role:
                raise P4RuntimeError(Code.NOT_FOUND, f"no client has opened a session for role {request.role!r}")
            primary = role.primary() if role is not None else None
            if primary is None or _election_id(request) != primary.election_id:
                raise P4RuntimeError(Code.PERMISSION_DENIED, "not primary: open a session with the highest election id")

    def is_primary(self, session: Session) -> bool:
        with self._lock:
            return session.role is not None and self._roles[session.role].primary() is session

    def send_to_primaries(self, message: Any) -> bool:
        """Queue a message to every role's primary; False if there is none, or none has room."""
        sent = False
        with self._lock:
            for role in self._roles.values():
                primary = role.primary()
                if primary is not None and primary.outbox.qsize() < MAX_QUEUED_MESSAGES:
                    primary.outbox.put(message)
                    sent = True
        return sent

    def _notify(self, role: _Role, name: str, sessions: list[Session]) -> None:
        primary = role.primary()
        # The new primary hears of it last: by then the former one knows that it may not write any more.
        for session in sorted(sessions, key=lambda each: each is primary):
            response = p4runtime_pb2.StreamMessageResponse()
            arbitration = response.arbitration
            arbitration.device_id = self.device_id
            if name:
                arbitration.role.name = name
            if role.highest is not None:
                arbitration.election_id.high, arbitration.election_id.low = role.highest
            if session is primary:
                arbitration.status.code = 0
                arbitration.status.message = "is primary"
            elif primary is not None:
                arbitration.status.code = code_number(Code.ALREADY_EXISTS)
                arbitration.status.message = "is backup"
            else:
                arbitration.status.code = code_number(Code.NOT_FOUND)
                arbitration.status.message = "is backup; there is no primary"
            session.outbox.put(response)


def _election_id(message: Any) -> tuple[int, int] | None:
    """Return (high, low), or None where it is unset: unset is lower than any id, (0, 0) is an id."""
    if not message.HasField("election_id"):
        return None
    return message.election_id.high, message.election_id.low
