"""The typed program: what a BMv2 JSON file says, as small frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from esa.switch.errors import UnsupportedError

MAX_BITS = 2048  # of a field, key, parameter or register
STANDARD = "standard_metadata"
# Where P4_14 has what v1model has in the standard metadata.
OLDER_METADATA = ("intrinsic_metadata", "queueing_metadata")


def cells_of(bits: int, signed: bool = False) -> int:
    """Words of 64 bits that a stored number takes.

    A wide signed one has room for its sign: BMv2 keeps what lies between 2**(bits-1) and 2**bits - 1 as it is.
    """
    return 1 if bits <= 64 else (bits + signed + 63) // 64


def words_of(number: int, bits: int) -> list[int]:
    """The low `bits` bits of `number` in words of 64 bits, the lowest first."""
    number &= (1 << bits) - 1
    return [number >> 64 * word & ((1 << 64) - 1) for word in range(cells_of(bits))]


@dataclass(frozen=True)
class FieldType:
    """One field of a header type; `bits` wide, two's complement if `signed`; at most so wide if `varbit`.

    A `saturating` one keeps, of what it cannot hold, the nearest that it can; others keep the low bits.
    """

    name: str
    bits: int
    signed: bool
    varbit: bool = False
    saturating: bool = False

    @property
    def words(self) -> int:
        """Cells that the field takes in the packet's vector: 64 bits each, the lowest first; a varbit's width last."""
        return cells_of(self.bits, self.signed) + self.varbit


@dataclass(frozen=True)
class Header:
    """A header instance. `stack` and `position` say which element of which header stack it is, if any."""

    name: str
    type_name: str
    fields: tuple[FieldType, ...]
    metadata: bool
    stack: str | None = None
    position: int = 0

    @property
    def bytes(self) -> int:
        """Length on the wire, without that of a varbit."""
        return sum(field.bits for field in self.fields if not field.varbit) // 8

    @property
    def varbit(self) -> int | None:
        """Which of its fields is a varbit; None if none is."""
        return next((at for at, field in enumerate(self.fields) if field.varbit), None)

    @property
    def words(self) -> int:
        """Cells that its fields take in the packet's vector; the cell of "$valid$" comes after them."""
        return sum(field.words for field in self.fields)


@dataclass(frozen=True)
class Const:
    value: int


@dataclass(frozen=True)
class Bool:
    value: bool


@dataclass(frozen=True)
class Field:
    """A header field; `name` may be the hidden "$valid$"."""

    header: str
    name: str


@dataclass(frozen=True)
class Param:
    """The action's run-time parameter number `index`."""

    index: int


@dataclass(frozen=True)
class LastField:
    """A field of the last valid header of a stack."""

    stack: str
    name: str


@dataclass(frozen=True)
class Lookahead:
    """`bits` packet bits, `offset` bits past the parser's cursor."""

    offset: int
    bits: int


@dataclass(frozen=True)
class Object:
    """A named thing that is no number: header, header_stack, register_array, counter_array, calculation, string."""

    kind: str
    name: str


@dataclass(frozen=True)
class Op:
    """An operation; `condition` is used by the ternary operator alone."""

    op: str
    left: Expr | None
    right: Expr | None
    condition: Expr | None = None


Expr = Const | Bool | Field | Param | LastField | Lookahead | Object | Op


@dataclass(frozen=True)
class Primitive:
    """One primitive call; `where` is its place in the P4 source, for messages, `text` what stands there, if known."""

    op: str
    args: tuple[Expr, ...]
    where: str = ""
    text: str = ""


@dataclass(frozen=True)
class Action:
    id: int
    name: str
    params: tuple[tuple[str, int], ...]  # (name, bits)
    primitives: tuple[Primitive, ...]

    @property
    def words(self) -> int:
        """Words that its parameters take in an entry."""
        return sum(cells_of(bits) for _, bits in self.params)

    def word(self, index: int) -> int:
        """The first word of parameter `index`."""
        return sum(cells_of(bits) for _, bits in self.params[:index])


@dataclass(frozen=True)
class Transition:
    """`value` and `mask` hold one number per key field; `value` None is the default. `next` None is accept.

    With a `value_set` the control plane says the values; `value` is then empty.
    """

    value: tuple[int, ...] | None
    mask: tuple[int, ...] | None
    next: str | None
    value_set: str | None = None


@dataclass(frozen=True)
class ParserState:
    name: str
    ops: tuple[Primitive, ...]  # extract, set, verify, advance, and action primitives
    key: tuple[Expr, ...]
    transitions: tuple[Transition, ...]


@dataclass(frozen=True)
class TableKey:
    name: str
    match_type: str  # exact, lpm, ternary, range, optional, valid
    field: Field
    bits: int
    mask: int | None


@dataclass(frozen=True)
class ConstEntry:
    """An entry the program itself states; `priority` as in BMv2: the lowest number wins."""

    match: tuple[Any, ...]
    action: str
    params: tuple[int, ...]
    priority: int


@dataclass(frozen=True)
class TableNode:
    name: str
    key: tuple[TableKey, ...]
    match_type: str
    size: int
    action_ids: tuple[int, ...]
    default_action: int | None
    default_params: tuple[int, ...]
    const_default: bool
    counters: bool
    entries: tuple[ConstEntry, ...] | None
    next_by_action: tuple[tuple[int, str | None], ...]
    next_hit: str | None
    next_miss: str | None
    by_hit: bool
    base_next: str | None
    meter: str | None = None  # its direct meter
    ages: bool = False  # whether its entries can have idle time-outs
    profile: str | None = None  # its action profile: entries name members and groups of it in place of actions


@dataclass(frozen=True)
class ConditionNode:
    name: str
    expression: Expr
    next_true: str | None
    next_false: str | None
    where: str = ""
    text: str = ""


@dataclass(frozen=True)
class CallNode:
    name: str
    action_id: int
    next: str | None


Node = TableNode | ConditionNode | CallNode


@dataclass(frozen=True)
class Control:
    """A pipeline: a graph of nodes, entered at `first`."""

    name: str
    first: str | None
    nodes: Mapping[str, Node]


@dataclass(frozen=True)
class Calculation:
    name: str
    algorithm: str
    inputs: tuple[tuple[str, Any, int], ...]  # ("field", Field, bits), ("const", value, bits), ("header", name, 0)
    payload: bool


@dataclass(frozen=True)
class Checksum:
    target: Field
    calculation: str
    verify: bool
    update: bool
    condition: Expr | None


@dataclass(frozen=True)
class RegisterArray:
    name: str
    size: int
    bits: int


@dataclass(frozen=True)
class CounterArray:
    name: str
    size: int
    direct: bool
    binding: str | None


@dataclass(frozen=True)
class MeterArray:
    """Three-colour meters; a direct one has a cell per entry of a table and writes the colour to `target`."""

    name: str
    size: int
    unit: str  # packets, bytes
    direct: bool
    target: Field | None


@dataclass(frozen=True)
class Profile:
    """An action profile: `size` members, each one of the actions `action_ids` (those of its first table).

    `selector` is the calculation by which a packet chooses a member of a group; None where there are no groups.
    """

    name: str
    size: int
    action_ids: tuple[int, ...]
    selector: str | None


@dataclass(frozen=True)
class Digest:
    """What generate_digest of this number tells the control plane: the values of some fields at the ingress's end."""

    number: int
    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class ValueSet:
    """At most `size` members, each of one number (and mask) per key field, `bits` wide, of the states that use it."""

    name: str
    size: int
    bits: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    headers: Mapping[str, Header]
    stacks: Mapping[str, tuple[str, ...]]
    states: tuple[ParserState, ...]
    first_state: str
    deparse_order: tuple[str, ...]
    deparse_primitives: tuple[Primitive, ...]
    actions: Mapping[int, Action]
    ingress: Control
    egress: Control
    calculations: Mapping[str, Calculation]
    checksums: tuple[Checksum, ...]
    registers: Mapping[str, RegisterArray]
    counters: Mapping[str, CounterArray]
    field_lists: Mapping[int, tuple[Field, ...]]
    errors: Mapping[str, int]
    aliases: Mapping[str, Field]
    meters: Mapping[str, MeterArray] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    digests: Mapping[int, Digest] = field(default_factory=dict)
    value_sets: Mapping[str, ValueSet] = field(default_factory=dict)
    unions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # A stack of unions is a stack of each of its members; these have one count of elements in common.
    union_stacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def depth(self, stack: str) -> int:
        """How many elements a stack, of headers or of unions, has room for."""
        return len(self.stacks[self.union_stacks.get(stack, (stack,))[0]])

    def beside(self, header: str) -> list[str]:
        """The headers that become invalid when this one becomes valid: the others of its union."""
        union = next((members for members in self.unions.values() if header in members), ())
        return [member for member in union if member != header]

    def field_type(self, field: Field) -> FieldType:
        """The type of a field; "$valid$" is one unsigned bit."""
        if field.name == "$valid$":
            return FieldType("$valid$", 1, False)
        for candidate in self.headers[field.header].fields:
            if candidate.name == field.name:
                return candidate
        raise UnsupportedError(f"field {field.header}.{field.name} is not declared")


def standard_field(program: Program, name: str) -> Field:
    """The field that the target itself reads or sets as `name`, as simple_switch finds it; it may not be declared."""
    declared = {(header.name, field.name) for header in program.headers.values() for field in header.fields}
    if (STANDARD, name) in declared:
        return Field(STANDARD, name)
    for header in OLDER_METADATA:
        alias = program.aliases.get(f"{header}.{name}")
        if alias is not None:
            return alias
        if (header, name) in declared:
            return Field(header, name)
    return Field(STANDARD, name)


def primitives_of(program: Program) -> Iterator[Primitive]:
    """Every primitive of actions, parser and deparser."""
    for action in program.actions.values():
        yield from action.primitives
    for state in program.states:
        yield from state.ops
    yield from program.deparse_primitives
