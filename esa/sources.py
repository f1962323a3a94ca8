"""Which files of this project a module's behaviour comes from: its own, and those of all that it imports.

What is kept on disk, machine code and results, is kept under a hash of them.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("esa", "controller", "topologies", "experiments")

# An import begins a line and goes on in parentheses alone. Every process that runs machine code looks through some
# sixty files: to read the whole of each takes ten times as long.
_IMPORT = re.compile(
    rb"^[ \t]*((?:from[ \t]+[\w.]+[ \t]+import\b[ \t]*(?:\([^)]*\)|[^\n(]+))|(?:import[ \t]+\w[^\n]*))", re.MULTILINE
)


@cache
def closure(file: Path) -> tuple[Path, ...]:
    """`file` and the project's files that it imports, directly or not, in a fixed order.

    A package's own file counts where something is imported from it, not where it is passed through.
    """
    found: set[Path] = set()
    wanted = [file]
    while wanted:
        path = wanted.pop()
        if path not in found:
            found.add(path)
            wanted += _imports(path)
    return tuple(sorted(found))


def digest(files: Iterable[Path]) -> str:
    """A hash of files: their contents, and their places in the project."""
    found = hashlib.sha256()
    for path in sorted(set(files)):
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        found.update(place.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    return tuple(path for path in map(_file, _names(_import_statements(file.read_bytes()), file)) if path is not None)


def _import_statements(text: bytes) -> ast.AST:
    """A tree that has at least the import statements of a file; an example in a docstring counts as one."""
    try:
        return ast.parse(b"\n".join(found.strip() for found in _IMPORT.findall(text)))
    except SyntaxError:  # a sentence that begins like one, or an import that is written otherwise
        return ast.parse(text)


def _names(tree: ast.AST, file: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{file}: line {node.lineno}: a relative import is not followed: write the whole name")
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.module if _file(inner) is None else inner


@cache
def _file(module: str) -> Path | None:
    """The file of one of the project's modules."""
    if module.partition(".")[0] not in PACKAGES:
        return None
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)
