"""A v1model P4 target in Python: loads BMv2 JSON, turns it into native code, runs packets.

>>> from esa.switch import Pipeline
>>> Pipeline.load(Path("program.json").read_text()).process(1, packet)
"""

from esa.switch.errors import (
    AssertionFailed,
    BadEntry,
    DuplicateEntry,
    NoSuchEntry,
    TableError,
    TableFull,
    UnsupportedError,
)
from esa.switch.runtime.pipeline import PacketBatch, Pipeline
from esa.switch.runtime.stateful import CloneSessions, Counter, MulticastGroups, Register
from esa.switch.runtime.tables import Entry, KeyField, Table

__all__ = [
    "AssertionFailed",
    "BadEntry",
    "CloneSessions",
    "Counter",
    "DuplicateEntry",
    "Entry",
    "KeyField",
    "MulticastGroups",
    "NoSuchEntry",
    "PacketBatch",
    "Pipeline",
    "Register",
    "Table",
    "TableError",
    "TableFull",
    "UnsupportedError",
]
