"""A v1model P4 target in Python: loads BMv2 JSON, turns it into native code, runs packets.

>>> from esa.switch import Pipeline
>>> switch = Pipeline.load(Path("esa/compiled/esa-64.json").read_text())
>>> switch.process(1, bytes(60))  # an Ethernet frame to an address that no table knows
[]
"""

from esa.switch.errors import (
    AssertionFailed,
    BadEntry,
    DuplicateEntry,
    EntryInUse,
    NoSuchEntry,
    TableError,
    TableFull,
    UnsupportedError,
)
from esa.switch.runtime.batch import PacketBatch
from esa.switch.runtime.digests import DigestRecord, Digests
from esa.switch.runtime.keys import KeyField
from esa.switch.runtime.meters import Meter, MeterRates
from esa.switch.runtime.pipeline import Pipeline
from esa.switch.runtime.profiles import ActionProfile, Group, IndirectTable, Member
from esa.switch.runtime.stateful import CloneSessions, Counter, MulticastGroups, Register
from esa.switch.runtime.tables import Entry, Table
from esa.switch.runtime.trace import PacketTrace, Step
from esa.switch.runtime.value_sets import ValueSet

__all__ = [
    "ActionProfile",
    "AssertionFailed",
    "BadEntry",
    "CloneSessions",
    "Counter",
    "DigestRecord",
    "Digests",
    "DuplicateEntry",
    "Entry",
    "EntryInUse",
    "Group",
    "IndirectTable",
    "KeyField",
    "Member",
    "Meter",
    "MeterRates",
    "MulticastGroups",
    "NoSuchEntry",
    "PacketBatch",
    "PacketTrace",
    "Pipeline",
    "Register",
    "Step",
    "Table",
    "TableError",
    "TableFull",
    "UnsupportedError",
    "ValueSet",
]
