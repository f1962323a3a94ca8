"""The table of docs/switch.md, made from the tests: python -m tests.switch.compatibility

A test says with `@pytest.mark.supports("tables: idle time-outs")` what it shows, and with `refuses` what is refused by
name; one that runs BMv2, too, is marked `bmv2`. Files are read, not imported.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "switch.md"
BEGIN, END = "<!-- made by python -m tests.switch.compatibility -->\n", "<!-- end of what is made -->\n"
AREAS = ("programs", "numbers", "headers", "parsers", "tables", "externs", "copies", "queues", "P4Runtime")
KINDS = ("supports", "refuses")


@dataclass
class Feature:
    """One row: what is supported or refused, and the tests that show it; `compared`: with BMv2, by one of them."""

    area: str
    text: str
    kind: str
    tests: list[str] = field(default_factory=list)
    compared: bool = False


def features(folder: Path = HERE) -> list[Feature]:
    """All features that tests in a folder are marked with, in the order of `AREAS`, supported ones first."""
    found: dict[tuple[str, str], Feature] = {}
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                marks = dict(filter(None, map(_mark, node.decorator_list)))
                for kind in KINDS:
                    for named in marks.get(kind, ()):
                        area, colon, text = named.partition(": ")
                        if area not in AREAS or not colon:
                            raise ValueError(f"{path.name}: {node.name}: {named!r}: 'AREA: FEATURE' is allowed, "
                                             f"AREA one of {', '.join(AREAS)}")  # fmt: skip
                        row = found.setdefault((kind, named), Feature(area, text, kind))
                        row.tests.append(f"{path.stem}.{node.name}")
                        row.compared |= "bmv2" in marks
    return sorted(found.values(), key=lambda f: (AREAS.index(f.area), KINDS.index(f.kind), f.text))


def _mark(node: ast.expr) -> tuple[str, list[str]] | None:
    """(name, arguments) of a decorator pytest.mark.NAME or pytest.mark.NAME(...)."""
    call = node.func if isinstance(node, ast.Call) else node
    if not isinstance(call, ast.Attribute) or ast.unparse(call.value) != "pytest.mark":
        return None
    strings = node.args if isinstance(node, ast.Call) else []
    return call.attr, [each.value for each in strings if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def table() -> str:
    """The rows as Markdown."""
    lines = ["| of | | | shown by, in `tests/switch` | beside BMv2 |", "|---|---|---|---|---|"]
    for row in features():
        files = sorted({test.partition(".")[0] for test in row.tests})
        state = "supported" if row.kind == "supports" else "refused"
        shown = ", ".join(f"[`{name}`](../tests/switch/{name}.py)" for name in files)
        lines.append(f"| {row.area} | {row.text} | {state} | {shown} | {'yes' if row.compared else ''} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """A page with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
