"""A P4Info's tables, actions and counters, by name and by id."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from esa.p4runtime import p4info_pb2

KINDS = {"table": "tables", "action": "actions", "counter": "counters"}  # a kind's name, its field in P4Info


class P4Names:
    """`p4info`, a P4Info message, as a dictionary. Names are the compiler's, whole: `ingress.admission.policy`."""

    def __init__(self, p4info: Any) -> None:
        self.p4info = p4info
        self._by_name = {
            (kind, found.preamble.name): found for kind, field in KINDS.items() for found in getattr(p4info, field)
        }
        self._by_id = {found.preamble.id: found for found in self._by_name.values()}

    @classmethod
    def of_file(cls, path: Path) -> P4Names:
        """Read the P4Info that the compiler wrote as text. Nobody changes it: who asks again gets the same."""
        return _of_text(path.read_text())

    def find(self, kind: str, name: str) -> Any:
        """Return the object of this kind with this name, None if there is none."""
        return self._by_name.get((kind, name))

    def with_id(self, id_: int) -> Any:
        """Return the object with this id; KeyError."""
        return self._by_id[id_]


@lru_cache(maxsize=3)  # the builds that there are; to read one takes 35 ms
def _of_text(text: str) -> P4Names:
    return P4Names(text_format.Parse(text, p4info_pb2.P4Info()))
