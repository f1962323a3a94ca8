"""A v1model P4 target in Python: loads BMv2 JSON, turns it into native code, runs packets.

>>> from esa.switch import Pipeline
>>> switch = Pipeline.load(Path("esa/compiled/esa-64.json").read_text())
>>> switch.process(1, bytes(60))  # an Ethernet frame to an address that no table knows
[]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.exports import lazy

if TYPE_CHECKING:
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
__getattr__, __dir__ = lazy(
    __name__,
    {
        "esa.switch.errors": (
            "AssertionFailed",
            "BadEntry",
            "DuplicateEntry",
            "EntryInUse",
            "NoSuchEntry",
            "TableError",
            "TableFull",
            "UnsupportedError",
        ),
        "esa.switch.runtime.batch": ("PacketBatch",),
        "esa.switch.runtime.digests": ("DigestRecord", "Digests"),
        "esa.switch.runtime.keys": ("KeyField",),
        "esa.switch.runtime.meters": ("Meter", "MeterRates"),
        "esa.switch.runtime.pipeline": ("Pipeline",),
        "esa.switch.runtime.profiles": ("ActionProfile", "Group", "IndirectTable", "Member"),
        "esa.switch.runtime.stateful": ("CloneSessions", "Counter", "MulticastGroups", "Register"),
        "esa.switch.runtime.tables": ("Entry", "Table"),
        "esa.switch.runtime.trace": ("PacketTrace", "Step"),
        "esa.switch.runtime.value_sets": ("ValueSet",),
    },
)
