"""Where everything lies: which cell of the packet's vector holds which field, which words hold registers and tables.

Four arrays hold all state, so that a generated function takes four arguments whatever the program declares:
`f` int64, one cell per field of the packet in hand; `pkt` uint8, the packet; `m32` uint32, registers up to 32 bits;
`m64` int64, wider registers, counters, tables and multicast groups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from esa.switch.compiler.lanes import Leaf
from esa.switch.compiler.program import Field, Object, Profile, Program, TableNode, cells_of, primitives_of
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
# Rows of a ternary or range table that an entry that comes or goes may move.
BLOCK = 512
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
    cell_names: dict[int, str] = field(default_factory=dict)
    stack_next: dict[str, int] = field(default_factory=dict)
    n_cells: int = 0
    n_metadata: int = 0
    scratch: int = 0  # cells after these that hold intermediate results: no packet's own, never cleared or copied
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
        return self.cells[leaf]

    def take_scratch(self, words: int) -> int:
        """The first of some cells for an intermediate result that nothing else uses."""
        at = self.n_cells + self.scratch
        self.scratch += words
        if self.scratch > MAX_SCRATCH:
            raise UnsupportedError(
                f"numbers of more than 64 bits: intermediate results take more than {MAX_SCRATCH} words"
            )
        return at


def _ordered(names: Sequence[Leaf], wanted: Sequence[Sequence[Leaf]]) -> list[Leaf]:
    """`names`, with each family of `wanted` put together where its first member stood; earlier families win."""
    taken: dict[Leaf, Sequence[Leaf]] = {}
    for family in wanted:
        if all(member in names and member not in taken for member in family):
            taken.update(dict.fromkeys(family, family))
    out: list[Leaf] = []
    done: set[Leaf] = set()
    for name in names:
        if name not in done:
            group = taken.get(name, [name])
            out.extend(group)
            done.update(group)
    return out


def _lay_cells(layout: Layout, program: Program, wanted: Sequence[Sequence[Leaf]]) -> None:
    used: set[str] = set()

    def cell(target: Field | None, name: str, words: int = 1) -> None:
        unique = identifier(name).upper()
        while unique in used:
            unique += "_"
        used.add(unique)
        layout.cell_names[layout.n_cells] = unique
        if target is not None:
            layout.cells[target] = layout.n_cells
        layout.n_cells += words

    for name in (*HIDDEN, *(["DIGEST"] if program.digests else [])):
        cell(None, name)
    metadata = [h for h in program.headers.values() if h.metadata]
    stacked = [program.headers[member] for members in program.stacks.values() for member in members]
    plain = [h for h in program.headers.values() if not h.metadata and h.stack is None]
    for header in [*metadata, *plain, *stacked]:
        if not header.metadata and not layout.n_metadata:
            layout.n_metadata = layout.n_cells
        fields: list[Leaf] = [Field(header.name, f.name) for f in header.fields]
        words = {f.name: f.words for f in header.fields}
        if header.metadata:
            fields = _ordered(fields, [fam for fam in wanted if isinstance(fam[0], Field)])
        for leaf in fields:
            assert isinstance(leaf, Field)
            short = leaf.name if header.name == "scalars" else f"{header.name}_{leaf.name}"
            cell(leaf, short, words[leaf.name])
        cell(Field(header.name, "$valid$"), f"{header.name}_VALID")
    counted = {part: name for name, parts in program.union_stacks.items() for part in parts}
    for stack in program.stacks:
        owner = counted.get(stack, stack)
        if owner not in layout.stack_next:
            layout.stack_next[owner] = layout.n_cells
            cell(None, f"{owner}_NEXT")
        layout.stack_next[stack] = layout.stack_next[owner]
    if not layout.n_metadata:
        layout.n_metadata = layout.n_cells


def _lay_registers(layout: Layout, program: Program, wanted: Sequence[Sequence[Leaf]]) -> None:
    names: list[Leaf] = [Object("register_array", name) for name in program.registers]
    families = [fam for fam in wanted if isinstance(fam[0], Object)]
    order = _ordered(names, families)
    layout.register_order = {leaf.name: at for at, leaf in enumerate(order)}
    members = {leaf: fam for fam in reversed(families) for leaf in fam}
    done: set[str] = set()
    for leaf in order:
        assert isinstance(leaf, Object)
        if leaf.name in done:
            continue
        at = layout.register_order[leaf.name]
        group = [leaf.name]
        register = program.registers[leaf.name]
        words = cells_of(register.bits)
        if leaf in members and words == 1:  # interleave exactly those that _ordered put side by side
            family = members[leaf]
            if all(layout.register_order[m.name] == at + i for i, m in enumerate(family) if isinstance(m, Object)):
                group = [m.name for m in family if isinstance(m, Object)]
        wide = register.bits > 32
        # rows of several lanes start on a cache line
        if len(group) > 1 and not wide:
            layout.words32 += -layout.words32 % 16
        base = layout.words64 if wide else layout.words32
        for lane, name in enumerate(group):
            layout.registers[name] = RegisterPlace(base + lane, len(group) * words, wide, words)
            done.add(name)
        if wide:
            layout.words64 += register.size * len(group) * words
        else:
            layout.words32 += register.size * len(group)


def _take(layout: Layout, words: int) -> int:
    at = layout.words64
    layout.words64 += words
    return at


def _lay_table(layout: Layout, program: Program, table: TableNode) -> TablePlace:
    size = max(table.size, 1) if table.key else 0
    kinds = {key.match_type for key in table.key}
    linear = bool(kinds & {"ternary", "range", "optional"})
    lpm = not linear and "lpm" in kinds
    key = sum(cells_of(each.bits) for each in table.key)
    words = key * 2 if linear else key + lpm
    # with an action profile, the word of an entry's action is a member's row, or -2 - a group, or -1
    params = 0 if table.profile is not None else _most_params(program, table.action_ids)
    lengths = max((65, *(each.bits + 1 for each in table.key)))
    hash_size = _hash_size(size) if size and not linear else 0
    block = BLOCK if linear and size > BLOCK else 0
    n_blocks = 2 * -(-size // block) + 2 if block else 0  # two neighbours have more rows than one can hold
    return TablePlace(
        size=size,
        words=words,
        params=params,
        hash_mask=max(hash_size - 1, 0),
        index=_take(layout, hash_size),
        keys=_take(layout, 0 if linear else size * words),
        actions=_take(layout, size + 1),
        parameters=_take(layout, (size + 1) * params),
        packets=_take(layout, (size + 1) * table.counters),
        bytes=_take(layout, (size + 1) * table.counters),
        count=_take(layout, 1),
        order=_take(layout, (n_blocks * block or size) * (words + 1) if linear else lengths if lpm else 0),
        block=block,
        n_blocks=n_blocks,
        blocks=_take(layout, 2 * n_blocks),
        tuples=_lay_tuples(layout, table, size, key) if block else None,
        hits=_take(layout, size * table.ages),
        chosen=_take(layout, 1) if table.profile is not None else 0,
    )


def _hash_size(rows: int) -> int:
    size = 4
    while size < 2 * rows:
        size *= 2
    return size


def _lay_tuples(layout: Layout, table: TableNode, size: int, cells: int) -> TuplePlace:
    limit = 2 * size // SAME_MASKS + 1  # see tuple_space.py
    ranges = sum(cells_of(key.bits) for key in table.key if key.match_type == "range")
    width = 2 + cells + (1 + 2 * ranges if ranges else 0)
    hash_size = _hash_size(size)
    return TuplePlace(
        limit=limit,
        count=_take(layout, 1),
        order=_take(layout, 2 * limit),
        masks=_take(layout, limit * cells),
        cells=cells,
        hash_mask=hash_size - 1,
        index=_take(layout, hash_size),
        rows=_take(layout, size * width),
        width=width,
        priority=1 + cells,
        next=2 + cells,
    )


def _most_params(program: Program, action_ids: Sequence[int]) -> int:
    return max((program.actions[a].words for a in action_ids), default=0)


def _lay_profile(layout: Layout, program: Program, profile: Profile) -> ProfilePlace:
    selects = profile.selector is not None
    rows, params = max(profile.size, 1) + SELECTOR_COPIES * selects, _most_params(program, profile.action_ids)
    return ProfilePlace(
        rows=rows,
        params=params,
        actions=_take(layout, rows),
        parameters=_take(layout, rows * params),
        groups=_take(layout, 2 * SELECTOR_GROUPS * selects),
        slots=_take(layout, SELECTOR_SLOTS * selects),
    )


def _lay_meters(layout: Layout, program: Program) -> None:
    sizes = {name: meter.size for name, meter in program.meters.items() if not meter.direct}
    for control in (program.ingress, program.egress):
        for node in control.nodes.values():
            if isinstance(node, TableNode) and node.meter is not None:
                sizes[node.meter] = layout.tables[node.name].size
    layout.meters = {name: _take(layout, METER_WORDS * size) for name, size in sizes.items()}
    if program.meters:
        layout.clock = _take(layout, 1)


def lay_out(program: Program, families: Sequence[Sequence[Leaf]]) -> Layout:
    """The places of everything in `program`; members of a family lie side by side."""
    layout = Layout()
    by_length = sorted(families, key=len, reverse=True)
    _lay_cells(layout, program, by_length)
    layout.random = _take(layout, 1)
    layout.lost = _take(layout, 5)
    _lay_registers(layout, program, by_length)
    for name, counter in program.counters.items():
        if not counter.direct:
            layout.counters[name] = _take(layout, 2 * counter.size)
    for control in (program.ingress, program.egress):
        for node in control.nodes.values():
            if isinstance(node, TableNode):
                layout.tables[node.name] = _lay_table(layout, program, node)
    layout.groups = _take(layout, 2 * MULTICAST_GROUPS)
    layout.group_nodes = _take(layout, 2 * layout.group_capacity)
    layout.queue_depth = _take(layout, PORTS)
    clones = any(p.op.startswith("clone_") for action in program.actions.values() for p in action.primitives)
    layout.clones = _take(layout, 2 * CLONE_SESSIONS * clones)
    layout.clone_limits = _take(layout, CLONE_SESSIONS * clones)
    layout.profiles = {name: _lay_profile(layout, program, each) for name, each in program.profiles.items()}
    _lay_meters(layout, program)
    for name, values in program.value_sets.items():
        layout.value_sets[name] = _take(layout, 1 + 2 * len(values.bits) * values.size)
    if program.digests:
        width = 1 + max(len(digest.fields) for digest in program.digests.values())
        layout.digests = DigestPlace(_take(layout, 1), _take(layout, 1), _take(layout, DIGEST_RECORDS * width), width)
    layout.clone_classes = _take(layout, CLONE_SESSIONS * clones)
    layout.log = _take(layout, (LOG_HEAD + LOG_WORDS) * any(p.op == "log_msg" for p in primitives_of(program)))
    return layout
