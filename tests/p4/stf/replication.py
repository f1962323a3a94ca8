"""simple_switch's replication engine as its CLI builds it: groups of nodes, sessions to ports or to groups."""

from __future__ import annotations

from collections.abc import Sequence

Copies = list[tuple[int, int]]  # (port, replica id)


class Replication:
    """What commands have made so far."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, list[int]]] = []  # by handle: (rid, ports)
        self._groups: dict[int, list[int]] = {}
        self._port_sessions: dict[int, int] = {}
        self._group_sessions: dict[int, int] = {}

    def command(self, name: str, arguments: Sequence[int]) -> None:
        if name == "mc_mgrp_create":
            self._groups[arguments[0]] = []
        elif name == "mc_node_create":
            self._nodes.append((arguments[0], list(arguments[1:])))
        elif name == "mc_node_update":
            self._nodes[arguments[0]] = (self._nodes[arguments[0]][0], list(arguments[1:]))
        elif name == "mc_node_associate":
            self._groups[arguments[0]].append(arguments[1])
        elif name == "mirroring_add":
            self._port_sessions[arguments[0]] = arguments[1]
        elif name == "mirroring_add_mc":
            self._group_sessions[arguments[0]] = arguments[1]
        elif name == "mirroring_delete":
            self._port_sessions.pop(arguments[0], None)
            self._group_sessions.pop(arguments[0], None)

    def groups(self) -> dict[int, Copies]:
        """The copies of each group."""
        return {group: self._copies(group) for group in self._groups}

    def sessions(self) -> dict[int, Copies]:
        """The copies of each clone session."""
        made: dict[int, Copies] = {}
        for session in sorted(self._port_sessions.keys() | self._group_sessions.keys()):
            made[session] = self._copies(self._group_sessions[session]) if session in self._group_sessions else []
            if session in self._port_sessions:
                made[session].append((self._port_sessions[session], 0))
        return made

    def _copies(self, group: int) -> Copies:
        nodes = (self._nodes[handle] for handle in self._groups.get(group, ()))
        return [(port, rid) for rid, ports in nodes for port in ports]
