"""Random P4 programs: numbers of any width, conditions, headers that come and go, stacks, registers, actions, tables.

What BMv2 leaves open is left out: nothing reads a header that may be invalid, and no register beyond its cells.
"""

from __future__ import annotations

import random

WIDTHS = (1, 3, 8, 9, 16, 31, 32, 33, 48, 63, 64, 65, 100, 128)
SIGNED = (8, 16, 32, 64, 80)
MAX_TABLES = 4
TEMPLATE = """#include <core.p4>
#include <v1model.p4>
error {{ Odd }}
header numbers_t {{ {fields} }}
header item_t {{ bit<8> more; bit<24> value; }}
struct H {{ numbers_t i; item_t[3] items; item_t spare; numbers_t o; }}
struct M {{ {metadata} }}
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {{
    state start {{
        p.extract(h.i);
        verify({checked}, error.Odd);
        transition select(p.lookahead<bit<8>>()) {{ 1: items; default: accept; }}
    }}
    state items {{
        p.extract(h.items.next);
        transition select(h.items.last.more, p.lookahead<bit<8>>()) {{ (1, 1): items; default: accept; }}
    }}
}}
control V(inout H h, inout M m) {{ apply {{}} }}
control I(inout H h, inout M m, inout standard_metadata_t s) {{
    register<bit<32>>(4) narrow;
    register<bit<100>>(4) broad;
    bit<32> n; bit<100> w;
    {actions}
    {tables}
    apply {{
        h.o = h.i;
        n = 0; w = 0;
        if (s.parser_error == error.Odd) {{ h.o.u3 = 5; }}
        s.egress_spec = 1;
        {ingress}
    }}
}}
control E(inout H h, inout M m, inout standard_metadata_t s) {{ apply {{ {egress} }} }}
control C(inout H h, inout M m) {{ apply {{}} }}
control D(packet_out p, in H h) {{ apply {{ p.emit(h.i); p.emit(h.items); p.emit(h.spare); p.emit(h.o); }} }}
V1Switch(P(), V(), I(), E(), C(), D()) main;
"""


def _name(kind: str, width: int) -> str:
    return f"{kind}{width}"


class Program:
    """A program from a seed: `text`, and packets for it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.types = [("u", width) for width in WIDTHS] + [("s", width) for width in SIGNED]
        self.padding = -sum(width for _, width in self.types) % 8
        fields = [f"{self._type(kind, width)} {_name(kind, width)};" for kind, width in self.types]
        if self.padding:
            fields.append(f"bit<{self.padding}> pad;")
        self._actions: list[tuple[str, int]] = []  # types of their parameters
        actions = "\n    ".join(self._action(at) for at in range(3))
        self._tables: list[str] = []
        ingress = self._block(7, 3)
        checked = " || ".join(f"h.i.{_name(*self.rng.choice(self.types))} != 0" for _ in range(2))
        egress = self._block(3, 2, inside=False)
        self.text = TEMPLATE.format(
            fields=" ".join(fields),
            metadata=" ".join(fields),
            actions=actions,
            ingress=ingress,
            egress=egress,
            checked=checked,
            tables="\n    ".join(self._tables),
        )

    def packet(self) -> bytes:
        """A packet with numbers at the edges of their ranges, some items, and a rest."""
        rng, bits = self.rng, ""
        for _, width in self.types:
            edges = [0, 1, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1, rng.getrandbits(width)]
            bits += format(rng.choice(edges), f"0{width}b")
        bits += "0" * self.padding
        data = int(bits, 2).to_bytes(len(bits) // 8, "big")
        for _ in range(rng.randrange(4)):
            data += bytes([1]) + rng.randbytes(3)
        return data + bytes([0, rng.randrange(3)]) + rng.randbytes(rng.randrange(12))

    # --- statements ---------------------------------------------------------------------------------------------

    def _type(self, kind: str, width: int) -> str:
        return f"bit<{width}>" if kind == "u" else f"int<{width}>"

    def _action(self, at: int) -> str:
        kind, width = self.rng.choice(self.types)
        target, value = self._place(kind, width), self._number(kind, width, 2)
        self._actions.append((kind, width))
        return f"action a{at}(in {self._type(kind, width)} x) {{ {target} = {value}; {self._place(kind, width)} = x; }}"

    def _block(self, count: int, depth: int, *, inside: bool = True) -> str:
        """`inside`: in the ingress, which has the actions and registers."""
        return " ".join(self._statement(depth, inside) for _ in range(self.rng.randint(1, count)))

    def _statement(self, depth: int, inside: bool) -> str:
        rng, how = self.rng, self.rng.random()
        if how < 0.25 and depth:
            other = f" else {{ {self._block(2, depth - 1, inside=inside)} }}" if rng.random() < 0.5 else ""
            return f"if ({self._truth(2)}) {{ {self._block(3, depth - 1, inside=inside)} }}{other}"
        if how < 0.35:
            return self._headers()
        if how < 0.45 and inside:
            at = rng.randrange(len(self._actions))
            return f"a{at}({self._number(*self._actions[at], 2)});"
        if how < 0.52 and inside and len(self._tables) < MAX_TABLES:
            return self._apply(depth)
        if how < 0.53 and depth < 3:
            return "exit;"
        if how < 0.62 and inside:
            register, name, width = rng.choice([("narrow", "n", 32), ("broad", "w", 100)])
            cell = f"(bit<32>) ({self._number('u', 8, 1)} & 3)"
            written = self._number("u", width, 2)
            return rng.choice(
                [f"{register}.write({cell}, {written});", f"{register}.read({name}, {cell}); h.o.u{width} = {name};"]
            )
        kind, width = rng.choice(self.types)
        return f"{self._place(kind, width)} = {self._number(kind, width, 3)};"

    # --- tables -------------------------------------------------------------------------------------------------

    def _apply(self, depth: int) -> str:
        """A table of its own, with entries, and a statement that applies it."""
        rng, name = self.rng, f"t{len(self._tables)}"
        self._tables.append("")  # its place, before those that its branches make
        at, (kind, width) = len(self._tables) - 1, rng.choice(self.types)
        keys = [(rng.choice([8, 9, 32, 64, 128]), rng.choice(["exact", "ternary"])) for _ in range(rng.randint(1, 2))]
        keys.append((rng.choice([16, 48]), rng.choice(["exact", "lpm", "ternary", "range"])))
        calls = [f"{name}_set({self._leaf_constant(kind, width)})", f"{name}_none()"]
        entries = {
            ", ".join(self._match(bits, match) for bits, match in keys): rng.choice(calls)
            for _ in range(rng.randint(1, 6))
        }
        self._tables[at] = (
            f"action {name}_set({self._type(kind, width)} v) {{ {self._place(kind, width)} = v; }}"
            f" action {name}_none() {{ }} table {name} {{"
            f" key = {{ {' '.join(f'h.i.u{bits}: {match};' for bits, match in keys)} }}"
            f" actions = {{ {name}_set; {name}_none; }} const default_action = {rng.choice(calls)};"
            f" const entries = {{ {' '.join(f'({match}): {call};' for match, call in entries.items())} }} }}"
        )
        then, other = (self._block(2, max(depth - 1, 0)) for _ in range(2))
        return rng.choice(
            [
                f"{name}.apply();",
                f"if ({name}.apply().hit) {{ {then} }} else {{ {other} }}",
                f"switch ({name}.apply().action_run) {{ {name}_set: {{ {then} }} default: {{ {other} }} }}",
            ]
        )

    def _match(self, bits: int, kind: str) -> str:
        rng, full = self.rng, (1 << bits) - 1
        value = rng.choice([0, 1, full, 1 << (bits - 1), (1 << (bits - 1)) - 1])
        if kind == "lpm":
            mask = full >> (shift := rng.choice([0, 1, bits // 2, bits - 1])) << shift
            return f"{value & mask} &&& {mask}"
        if kind == "ternary":
            mask = rng.choice([0, 1, full, 1 << (bits - 1), rng.getrandbits(bits)])
            return f"{value & mask} &&& {mask}"
        if kind == "range":
            low, high = sorted((value, rng.getrandbits(bits)))
            return f"{low}..{high}"
        return str(value)

    def _leaf_constant(self, kind: str, width: int) -> str:
        return f"{width}w{self.rng.getrandbits(width)}" if kind == "u" else f"{width}s{self.rng.getrandbits(width - 1)}"

    def _place(self, kind: str, width: int) -> str:
        return f"{self.rng.choice(['h.o', 'h.o', 'm'])}.{_name(kind, width)}"

    def _headers(self) -> str:
        rng, at, other = self.rng, self.rng.randrange(3), self.rng.randrange(3)
        item, values = f"h.items[{at}]", [self._number("u", 24, 1) for _ in range(2)]
        return rng.choice(
            [
                f"{item}.setInvalid();",
                f"{item}.setValid(); {item}.more = {at}; {item}.value = {values[0]};",
                f"{item} = h.items[{other}];",
                f"h.spare = {item};",
                f"{item} = h.spare;",
                f"h.items.push_front({rng.choice([1, 2])});",
                f"h.items.pop_front({rng.choice([1, 2])});",
                f"if ({item}.isValid()) {{ {item}.value = {item}.value + {values[1]}; }}",
                f"if ({item}.isValid()) {{ h.o.u32 = (bit<32>) {item}.value; }}",
                f"if (h.spare == {item}) {{ h.o.u8 = {self._number('u', 8, 1)}; }}",
            ]
        )

    # --- expressions --------------------------------------------------------------------------------------------

    def _leaf(self, kind: str, width: int) -> str:
        rng = self.rng
        if (kind, width) in self.types and rng.random() < 0.75:
            return f"{rng.choice(['h.i', 'h.i', 'h.o', 'm'])}.{_name(kind, width)}"
        if kind == "u":
            return f"{width}w{rng.choice([0, 1, (1 << width) - 1, rng.getrandbits(width)])}"
        top = 1 << (width - 1)
        value = rng.choice([0, 1, top - 1, -top, rng.getrandbits(width) - top])
        return (
            f"{width}s{value}"
            if value >= 0
            else f"(-{width}s{-value})"
            if value != -top
            else f"(-{width}s{top - 1} - 1)"
        )

    def _number(self, kind: str, width: int, depth: int) -> str:
        rng = self.rng
        if not depth or rng.random() < 0.15:
            return self._leaf(kind, width)

        def a() -> str:
            return self._number(kind, width, depth - 1)

        made = [
            lambda: f"({a()} {rng.choice(['+', '-', '*'])} {a()})",
            lambda: f"({a()} {rng.choice(['&', '|', '^'])} {a()})",
            lambda: f"(~{a()})",
            lambda: f"(-{a()})",
            lambda: f"({a()} {rng.choice(['<<', '>>'])} {self._number('u', 8, depth - 1)})",
            lambda: f"({a()} {rng.choice(['<<', '>>'])} {rng.randrange(0, width + 2)})",
            lambda: f"({self._truth(depth - 1)} ? {a()} : {a()})",
            lambda: self._cast(kind, width, depth - 1),
        ]
        if width > 1:
            made.append(lambda: f"({a()} {rng.choice(['|+|', '|-|'])} {a()})")
        if kind == "u":
            made.append(lambda: self._slice(width))
            if width > 1:
                made.append(lambda: self._concatenated(width, depth - 1))
        return rng.choice(made)()

    def _cast(self, kind: str, width: int, depth: int) -> str:
        rng = self.rng
        other = rng.choice(WIDTHS if kind == "u" else SIGNED)
        if width in SIGNED and rng.random() < 0.5:
            return f"(({self._type(kind, width)}) {self._number('us'[kind == 'u'], width, depth)})"
        return f"(({self._type(kind, width)}) {self._number(kind, other, depth)})"

    def _slice(self, width: int) -> str:
        wider = [each for each in WIDTHS if each >= width]
        if not wider:
            return self._leaf("u", width)
        of = self.rng.choice(wider)
        low = self.rng.randint(0, of - width)
        return f"{self.rng.choice(['h.i', 'h.o', 'm'])}.{_name('u', of)}[{low + width - 1}:{low}]"

    def _concatenated(self, width: int, depth: int) -> str:
        high = self.rng.randint(1, width - 1)
        return f"({self._number('u', high, depth)} ++ {self._number('u', width - high, depth)})"

    def _truth(self, depth: int) -> str:
        rng = self.rng
        how = rng.random()
        if depth and how < 0.2:
            return f"({self._truth(depth - 1)} {rng.choice(['&&', '||'])} {self._truth(depth - 1)})"
        if depth and how < 0.3:
            return f"(!{self._truth(depth - 1)})"
        if how < 0.4:
            return rng.choice([f"h.items[{rng.randrange(3)}].isValid()", "h.spare.isValid()"])
        kind, width = rng.choice(self.types)
        sides = [self._number(kind, width, max(depth - 1, 0)) for _ in range(2)]
        return f"({sides[0]} {rng.choice(['==', '!=', '<', '<=', '>', '>='])} {sides[1]})"
