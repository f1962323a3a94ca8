"""Laying out: give every field, register, table and group of a program its place (layout.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from esa.switch.compiler.lanes import Leaf
from esa.switch.compiler.layout import (
    CLONE_SESSIONS,
    DIGEST_RECORDS,
    HIDDEN,
    LOG_HEAD,
    LOG_WORDS,
    METER_WORDS,
    MULTICAST_GROUPS,
    PORTS,
    SAME_MASKS,
    SELECTOR_COPIES,
    SELECTOR_GROUPS,
    SELECTOR_SLOTS,
    DigestPlace,
    HalfPlace,
    Layout,
    ProfilePlace,
    RegisterPlace,
    TablePlace,
    TuplePlace,
    identifier,
)
from esa.switch.compiler.program import (
    Field,
    Header,
    Object,
    Profile,
    Program,
    TableNode,
    cells_of,
    primitives_of,
)

# Rows of a ternary or range table that an entry that comes or goes may move.
BLOCK = 512


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


class _Cells:
    """Gives cells out, each under a name of its own."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.used: set[str] = set()
        self.next = 0

    def take(self, target: Field | None, name: str, words: int = 1) -> None:
        """Some cells for a field, or for what belongs to no header."""
        self.layout.cell_names[self.next] = self.unique(name)
        if target is not None:
            self.layout.cells[target] = self.next
        self.next += words

    def take_halves(self, header: Header) -> None:
        """Half a cell for each field of a header of lanes."""
        for k, kind in enumerate(header.fields):
            place = HalfPlace(2 * self.next + k, self.unique(f"{header.name}_{kind.name}"), kind.signed)
            self.layout.halves[Field(header.name, kind.name)] = place
        self.next += (len(header.fields) + 1) // 2

    def unique(self, name: str) -> str:
        """A name that nothing else has."""
        unique = identifier(name).upper()
        while unique in self.used:
            unique += "_"
        self.used.add(unique)
        return unique


def _lay_cells(
    layout: Layout,
    program: Program,
    wanted: Sequence[Sequence[Leaf]],
    halved: Collection[str],
    passing: Collection[Field],
    buffer: int,
) -> None:
    cells = _Cells(layout)
    later: list[tuple[Field, str]] = []
    for name in (*HIDDEN, *(["DIGEST"] if program.digests else [])):
        cells.take(None, name)
    metadata = [h for h in program.headers.values() if h.metadata]
    stacked = [program.headers[member] for members in program.stacks.values() for member in members]
    plain = [h for h in program.headers.values() if not h.metadata and h.stack is None]
    for header in [*metadata, *plain, *stacked]:
        if not header.metadata and not layout.n_metadata:
            layout.n_metadata = cells.next
        fields: list[Leaf] = [Field(header.name, f.name) for f in header.fields]
        words = {f.name: f.words for f in header.fields}
        if header.metadata:
            fields = _ordered(fields, [fam for fam in wanted if isinstance(fam[0], Field)])
        if header.name in halved:
            cells.take_halves(header)
            fields = []
        for leaf in fields:
            assert isinstance(leaf, Field)
            short = leaf.name if header.name == "scalars" else f"{header.name}_{leaf.name}"
            if leaf in passing:
                later.append((leaf, short))
            else:
                cells.take(leaf, short, words[leaf.name])
        cells.take(Field(header.name, "$valid$"), f"{header.name}_VALID")
    counted = {part: name for name, parts in program.union_stacks.items() for part in parts}
    for stack in program.stacks:
        owner = counted.get(stack, stack)
        if owner not in layout.stack_next:
            layout.stack_next[owner] = cells.next
            cells.take(None, f"{owner}_NEXT")
        layout.stack_next[stack] = layout.stack_next[owner]
    if not layout.n_metadata:
        layout.n_metadata = cells.next
    layout.buffer = cells.next
    cells.next += buffer
    layout.n_cells = cells.next
    for field, short in later:
        cells.take(field, short)
    layout.passing = len(later)


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


def lay_out(
    program: Program,
    families: Sequence[Sequence[Leaf]],
    halved: Collection[str] = (),
    passing: Collection[Field] = (),
    buffer: int = 0,
) -> Layout:
    """The places of everything in `program`; members of a family lie side by side.

    `halved`: headers whose fields take half a cell; `passing`: fields that need none outside one pass of a lane loop;
    `buffer`: cells for the bytes of a calculation.
    """
    layout = Layout()
    by_length = sorted(families, key=len, reverse=True)
    _lay_cells(layout, program, by_length, halved, passing, buffer)
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
