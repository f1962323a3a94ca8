"""Where what an expression names lies: cells of fields and of stacks' elements, and what the text calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from esa.switch.compiler.halves import NotHalvedError
from esa.switch.compiler.lanes import Leaf
from esa.switch.compiler.layout import Layout
from esa.switch.compiler.program import Action, Field, Header, LastField, Program
from esa.switch.compiler.values import MAX64, TooWideError, Value, literal
from esa.switch.errors import UnsupportedError


@dataclass
class Places:
    """Where an expression stands: which program, which action's parameters, which lane loop."""

    program: Program
    layout: Layout
    where: str = ""
    action: Action | None = None
    strides: Mapping[Leaf, int] = field(default_factory=dict)  # inside a lane loop: cells per lane
    locals: Mapping[Field, str] = field(default_factory=dict)  # fields that live in a local variable of the loop
    helpers: set[str] = field(default_factory=set)  # names of esa.switch.compiler.helpers functions the text calls
    constants: dict[str, int] = field(default_factory=dict)  # names of cells and offsets the text uses
    sites: list[object] | None = None  # in a text that is traced: what its calls of the tracer speak of

    def refuse(self, what: str) -> UnsupportedError:
        """The error to raise for `what`."""
        return UnsupportedError(f"{self.where}: {what}")

    def tell(self, hook: str, site: object, *args: str) -> list[str]:
        """The line that tells the tracer what happens here, in a text that is traced (runtime/tracer.py)."""
        if self.sites is None:
            return []
        self.sites.append(site)
        return [f"trace_{hook}({', '.join((str(len(self.sites) - 1), *args))})"]

    def told(self, site: object, test: str) -> str:
        """The text of a test, which the tracer hears of."""
        return "".join(self.tell("test", (site, self.action), "f", test)) or test

    def constant(self, name: str, value: int) -> str:
        """`name`, which the module will define as `value`."""
        known = self.constants.setdefault(name, value)
        while known != value:
            name += "_"
            known = self.constants.setdefault(name, value)
        return name

    def hidden(self, name: str) -> str:
        """The cell of a field that belongs to no header."""
        cell = next(c for c, n in self.layout.cell_names.items() if n == name)
        return f"f[{self.constant(name, cell)}]"

    def cell(self, target: Field) -> str:
        """The number of a field's cell, as text. Raises NotHalvedError for half a cell."""
        if target in self.layout.halves:
            raise NotHalvedError(target.header)
        number = self.layout.cells.get(target)
        if number is None:
            raise self.refuse(f"field {target.header}.{target.name} is not declared")
        return self._strided(target, self.constant(self.layout.cell_names[number], number))

    def _strided(self, target: Field, name: str) -> str:
        stride = self.strides.get(target, 0)
        return name if stride == 0 else f"{name} + i" if stride == 1 else f"{name} + {stride} * i"

    def place(self, target: Field) -> str:
        """The text that reads or writes a field. Raises NotHalvedError for half a cell."""
        return self.locals.get(target) or f"f[{self.cell(target)}]"

    def place_or_half(self, target: Field) -> str:
        """The same, for whoever knows that what is read there may have 32 bits, and is cut to these when written."""
        half = self.layout.halves.get(target)
        if half is None:
            return self.place(target)
        vector = self.call("int32s" if half.signed else "uint32s", "f")
        return f"{vector}[{self._strided(target, self.constant(half.name, half.at))}]"

    def words_of_lanes(self, header: Header) -> str | None:
        """The number of the first half of a cell of a header that is words of 32 bits; None for other headers."""
        half = self.layout.halves.get(Field(header.name, header.fields[0].name)) if header.fields else None
        if half is None or header.fields[0].bits != 32:
            return None
        return self.constant(half.name, half.at)

    def _half(self, target: Field) -> Value:
        kind = self.program.field_type(target)
        high = (1 << (31 if kind.signed and kind.bits == 32 else kind.bits)) - 1  # see halves.fits
        return Value(f"np.int64({self.place_or_half(target)})", -(1 << (kind.bits - 1)) if kind.signed else 0, high)

    def _stored(self, code: str, bits: int, signed: bool) -> Value:
        if bits > 64:
            raise TooWideError
        if not signed:
            return Value(code, 0, (1 << bits) - 1)
        # BMv2 keeps a number between 2**(bits-1) and 2**bits - 1 as it is when it stores into a signed field.
        return Value(code, -(1 << (bits - 1)), MAX64 if bits == 64 else (1 << bits) - 1)

    def copied(self, target: Field, source: Field) -> list[str]:
        """Lines that copy all words of a field to another of its type."""
        to, of, words = self.place(target), self.place(source), self.program.field_type(target).words
        rest = [f"{to[:-1]} + {k}] = {of[:-1]} + {k}]" for k in range(1, words)]
        return [f"{to} = {of}", *rest]

    def varbit_width(self, header: Header) -> str:
        """The cell that holds how many bits the header's varbit has."""
        assert header.varbit is not None
        kind = header.fields[header.varbit]
        return f"f[{self.cell(Field(header.name, kind.name))} + {kind.words - 1}]"

    def header_bytes(self, header: Header) -> str:
        """How long the header is on the wire."""
        return f"{header.bytes}" if header.varbit is None else f"({header.bytes} + ({self.varbit_width(header)} >> 3))"

    def call(self, helper: str, *args: str) -> str:
        """A call of a function in helpers.py."""
        self.helpers.add(helper)
        return f"{helper}({', '.join(args)})"

    def last_cell(self, expr: LastField) -> str:
        """The cell of a field of the last valid element of a stack (the first, while the stack is empty)."""
        base, stride = self.stack_cells(expr.stack, expr.name)
        return f"{base} + {stride} * max({self.following(expr.stack)} - 1, 0)"

    def following(self, stack: str) -> str:
        """The cell that counts the valid elements of a stack."""
        cell = self.layout.stack_next[stack]
        return f"f[{self.constant(self.layout.cell_names[cell], cell)}]"

    def stack_cells(self, stack: str, name: str) -> tuple[int, int]:
        """The cell of field `name` in element 0, and the distance to the next element's."""
        members = self.program.stacks[stack]
        first = self.layout.cells[Field(members[0], name)]
        return first, (self.layout.cells[Field(members[1], name)] - first) if len(members) > 1 else 0

    def saturated(self, value: Value, lo: int, hi: int) -> Value:
        """The nearest number of an interval, which one word holds."""
        if value.unsigned:
            if value.hi > hi:
                return Value(self.call("minimum_unsigned", value.code, literal(hi)), 0, hi)
            return value
        code = value.code
        if value.hi > hi:
            code = f"min({code}, {literal(hi)})"
        if value.lo < lo:
            code = f"max({code}, {literal(lo)})"
        return Value(code, min(max(value.lo, lo), hi), max(min(value.hi, hi), lo))
