"""Where everything lies: which cell of the packet's vector holds which field, which words hold registers and tables.

Four arrays hold all state, so that a generated function takes four arguments whatever the program declares:
`f` int64, one cell per field of the packet in hand, but for lanes, of which two share a cell (halves.py); `pkt` uint8,
the packet; `m32` uint32, registers up to 32 bits; `m64` int64, wider registers, counters, tables and multicast groups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from esa.switch.compiler.lanes import Leaf
from esa.switch.compiler.program import Field, Object
from esa.switch.errors import UnsupportedError

# Cells that belong to no header, first in the vector.
HIDDEN = ("CURSOR", "INGRESS_LENGTH", "LENGTH", "EXIT", "ERROR", "CHECKSUM_ERROR", "TRUNCATE", "CLONE", "CLONE_LIST",
          "RESUBMIT", "RECIRCULATE", "FAILED", "SINK")  # fmt: skip
MULTICAST_GROUPS = 65536
PORTS = 512
CLONE_SESSIONS = 32768
METER_WORDS = 15  # of one meter: see helpers.meter
# Of an action selector: its groups, the places of members in them, and copies of members that have a weight above one.
SELECTOR_GROUPS = 16384
SELECTOR_SLOTS = 65536
SELECTOR_COPIES = 16384
DIGEST_RECORDS = 4096  # that may wait for the control plane
# Entries with the same masks that are worth a hash of their own: trying one after another takes about as long.
SAME_MASKS = 16
# Messages of log_msg: words for those of a batch; before them how many there are, how many are used, and how many
# messages found none.
LOG_WORDS = 16384
LOG_HEAD = 3
MAX_SCRATCH = 1 << 18


def identifier(name: str) -> str:
    """`name` as a Python identifier of ASCII letters: Python takes some others for the same."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return text if text and not text[0].isdigit() else f"_{text}"


def remark(text: str) -> str:
    """`text`, which may come from a stranger's program, as part of a docstring."""
    return re.sub(r"[^ !#-\[\]-z|~]", "?", text)


@dataclass(frozen=True)
class RegisterPlace:
    """Cell i of a register is word offset + i * stride of `m32` (or of `m64` where `wide`), and `words - 1` more."""

    offset: int
    stride: int
    wide: bool
    words: int = 1


@dataclass(frozen=True)
class HalfPlace:
    """A field is number `at` of the vector's words of 32 bits; `name` is what the text calls that number."""

    at: int
    name: str
    signed: bool


@dataclass(frozen=True)
class TuplePlace:
    """Word offsets of a large ternary or range table's tuples, which are what masks its entries have.

    Each entry has a row: where its tuple's masks lie, the masked words of its key, its priority; with ranges also the
    next entry with the same masks and masked words + 1, and low and high of each range.
    """

    limit: int  # how many tuples may have a hash
    count: int  # one word: how many have one
    order: int  # of those, by their highest priority: (that priority, where the masks lie)
    masks: int  # of each tuple, `cells` words
    cells: int  # words of key
    hash_mask: int
    index: int  # hash index: entry + 1, 0 empty
    rows: int
    width: int  # words of a row
    priority: int  # which of them the priority is,
    next: int  # and with ranges the next entry; the ranges follow


@dataclass(frozen=True)
class TablePlace:
    """Word offsets of a table in `m64`. Entries have rows 0 .. size - 1, the default action row `size`."""

    size: int
    words: int  # words of key per entry
    params: int  # words of parameters per entry
    hash_mask: int  # slots of the hash index - 1; 0 where there is none
    index: int  # hash index: entry + 1, 0 empty
    keys: int
    actions: int
    parameters: int
    packets: int
    bytes: int
    count: int  # one word: rows or blocks in use (ternary, range), or prefix lengths in use (lpm)
    order: int  # ternary, range: rows of (entry, key words); lpm: the prefix lengths, longest first
    block: int = 0  # ternary, range, in a large table: rows in a block,
    n_blocks: int = 0  # how many blocks there may be,
    blocks: int = 0  # and in the order of trying, of those in use: (first word, rows in use)
    tuples: TuplePlace | None = None  # of a table in blocks
    hits: int = 0  # with idle time-outs: how often each entry was hit
    chosen: int = 0  # with an action profile: one word, the action that the last packet got, -1 none


@dataclass(frozen=True)
class ProfilePlace:
    """Word offsets of an action profile in `m64`: rows of members, and groups of (first slot, slots)."""

    rows: int
    params: int  # words of parameters per member
    actions: int
    parameters: int
    groups: int
    slots: int  # members' rows


@dataclass(frozen=True)
class DigestPlace:
    """Word offsets of the digests that wait: how many, how many found no room, records of (number, fields)."""

    count: int
    lost: int
    records: int
    width: int  # words of a record


@dataclass
class Layout:
    """All places; made once per program by `lay_out`."""

    cells: dict[Field, int] = field(default_factory=dict)
    halves: dict[Field, HalfPlace] = field(default_factory=dict)  # of fields that are not in `cells`
    cell_names: dict[int, str] = field(default_factory=dict)
    stack_next: dict[str, int] = field(default_factory=dict)
    n_cells: int = 0
    n_metadata: int = 0
    buffer: int = 0  # where the bytes of a calculation are gathered
    passing: int = 0  # cells after these of fields that live inside one pass of a lane loop: neither cleared nor copied
    scratch: int = 0  # cells after those that hold intermediate results: no packet's own, never cleared or copied
    registers: dict[str, RegisterPlace] = field(default_factory=dict)
    register_order: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    tables: dict[str, TablePlace] = field(default_factory=dict)
    value_sets: dict[str, int] = field(default_factory=dict)  # one word: members; then (value, mask) per key of each
    digests: DigestPlace | None = None
    profiles: dict[str, ProfilePlace] = field(default_factory=dict)
    meters: dict[str, int] = field(default_factory=dict)  # a direct one has a cell per row of its table
    groups: int = 0
    group_nodes: int = 0
    group_capacity: int = 65536
    queue_depth: int = 0
    clones: int = 0
    clone_limits: int = 0  # by session: bytes that a clone has at most, 0 any
    clone_classes: int = 0  # by session: the priority of clones, 0 what the program says
    random: int = 0
    lost: int = 0
    clock: int | None = None  # the time of the batch, where the program has meters
    log: int = 0
    messages: list[tuple[str, tuple[bool, ...]]] = field(default_factory=list)  # text, which of its values are unsigned
    words32: int = 0
    words64: int = 0

    def note_message(self, text: str, unsigned: Sequence[bool]) -> int:
        """The number of a message of log_msg with values that are read so."""
        self.messages.append((text, tuple(unsigned)))
        return len(self.messages) - 1

    def position(self, leaf: Leaf) -> int:
        """A number per field or register; what lies side by side has consecutive numbers."""
        if isinstance(leaf, Object):
            return self.register_order[leaf.name]
        return self.halves[leaf].at if leaf in self.halves else self.cells[leaf]

    @property
    def vector(self) -> int:
        """Cells of a packet's vector, those of intermediate results included."""
        return self.n_cells + self.passing + self.scratch

    def take_scratch(self, words: int) -> int:
        """The first of some cells for an intermediate result that nothing else uses."""
        at = self.vector
        self.scratch += words
        if self.scratch > MAX_SCRATCH:
            raise UnsupportedError(
                f"numbers of more than 64 bits: intermediate results take more than {MAX_SCRATCH} words"
            )
        return at
