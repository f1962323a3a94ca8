"""Digests: the function that writes a record of fields for the control plane."""

from __future__ import annotations

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.layout import DIGEST_RECORDS
from esa.switch.compiler.values import indented, literal


def learn_functions(scope: Scope) -> list[list[str]]:
    """`learn(f, m64)`, if the program has digests: one record of the digest that f asks for."""
    place = scope.layout.digests
    if place is None:
        return []
    asked = scope.hidden("DIGEST")
    lines = [
        f"if m64[{place.count}] >= {DIGEST_RECORDS}:",
        f"    m64[{place.lost}] += 1",
        "    return",
        f"at = {place.records} + {place.width} * m64[{place.count}]",
        f"m64[{place.count}] += 1",
        f"m64[at] = {asked}",
    ]
    for digest in scope.program.digests.values():
        stores = []
        for number, item in enumerate(digest.fields):
            kind = scope.program.field_type(item)
            mask = f" & {literal((1 << kind.bits) - 1)}" if kind.signed else ""
            stores.append(f"m64[at + {number + 1}] = {scope.place(item)}{mask}")
        if stores:
            lines += [f"if {asked} == {digest.number}:", *indented(stores)]
    return [["def learn(f, m64):", '    """Write down the digest that the ingress has asked for."""', *indented(lines)]]
