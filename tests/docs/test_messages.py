"""docs/troubleshooting.md quotes messages as the code has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("esa", "controller", "topologies", "experiments")
GAP = "\0"  # what a message has from a variable


def _quoted() -> list[str]:
    """The first columns of the tables of messages; `…` stands for what varies."""
    rows = re.findall(r"^\| (`.*?`) \|", PAGE.read_text(), re.MULTILINE)
    return [row.strip("`") for row in rows]


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_quoted_message_stands_in_the_code() -> None:
    quoted = _quoted()
    assert len(quoted) > 50
    # Where parts are long, a file without them is not parsed.
    parts = {message: max(message.split("…"), key=len) for message in quoted}
    missing = set(quoted)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            source = re.sub(r'"\s*\n\s*f?"', "", path.read_text())
            there = [message for message in missing if max(parts[message].split("'"), key=len) in source]
            if not there:
                continue
            texts = list(_texts(ast.parse(path.read_text())))
            for message in there:
                pattern = re.compile(re.escape(message).replace(re.escape("…"), "(?s:.+)"))
                missing -= {message for text in texts if pattern.search(text)}
    assert missing == set()
