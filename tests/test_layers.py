"""Imports point down, and nowhere in a circle; a file that is long says why it is one."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from esa import sources

# Who may be imported by whom: what begins with the first does not import what begins with any of the others.
FORBIDDEN = {
    "esa": ("controller", "topologies", "experiments"),
    "controller": ("topologies", "experiments"),
    "esa.fabric": ("esa.sim", "esa.entries", "esa.switch", "esa.hosts", "esa.protocol"),
    "esa.switch": ("esa.protocol", "esa.entries", "esa.sim", "esa.hosts", "esa.job", "esa.wire", "esa.policy"),
    "esa.net": ("esa.protocol", "esa.entries", "esa.sim", "esa.hosts", "esa.job", "esa.wire", "esa.policy"),
    "esa.protocol": ("esa.hosts", "esa.sim", "esa.switch", "esa.entries"),
    "esa.entries": ("esa.sim", "esa.hosts", "esa.protocol"),
    "esa.cluster": ("esa.sim", "esa.hosts", "esa.protocol", "esa.switch"),
    "esa.laboratory": ("esa.sim", "esa.hosts", "esa.protocol", "esa.switch"),
    "esa.serving": ("esa.sim", "esa.hosts", "esa.protocol", "esa.switch"),
    "esa.workloads": ("esa.sim", "esa.hosts", "esa.protocol", "esa.switch"),
    "esa.gpu": ("esa.sim", "esa.hosts", "esa.protocol", "esa.switch", "esa.torch"),
    "esa.kvcache": ("esa.sim", "esa.hosts", "esa.protocol", "esa.switch", "esa.torch"),
    "esa.sim.engine": (
        "esa.sim.fabric",
        "esa.sim.transport",
        "esa.sim.ranks",
        "esa.sim.loop",
        "esa.sim.simulate",
        "esa.sim.plan",
        "esa.protocol",
        "esa.wire",
    ),
    "esa.sim.fabric": ("esa.sim.transport", "esa.sim.ranks", "esa.sim.loop", "esa.sim.simulate"),
    "esa.sim.transport": ("esa.sim.ranks", "esa.sim.loop", "esa.sim.simulate"),
    "esa.sim.ranks": ("esa.sim.loop", "esa.sim.simulate"),
    "esa.hosts": ("esa.sim", "esa.switch", "esa.torch"),
    "esa.sim": ("esa.hosts", "esa.torch"),
    "topologies": ("experiments",),
}


LONG = 400  # lines
REASON = "One reason to change: "
FIRST_LINES = 20


@cache
def modules() -> dict[str, Path]:
    """By name, without the packages' own files: those only pass on what is inside."""
    found = {}
    for package in sources.PACKAGES:
        for path in (sources.ROOT / package).rglob("*.py"):
            found[".".join(path.relative_to(sources.ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@cache
def imported(path: Path) -> tuple[set[str], set[str]]:
    """Modules of the project that a file imports: when it is loaded, and those with what its functions import."""
    tree = ast.parse(path.read_text())
    return _named(ast.iter_child_nodes(tree)), _named(ast.walk(tree))


def _named(nodes: Iterable[ast.AST]) -> set[str]:
    known, found = modules(), set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found


def under(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_no_module_is_loaded_in_a_circle() -> None:
    TopologicalSorter({name: imported(path)[0] for name, path in modules().items()}).prepare()


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_down(package: str) -> None:
    upwards = [
        f"{name} imports {other}"
        for name, path in modules().items()
        if under(name, package)
        for other in imported(path)[1]
        if any(under(other, above) for above in FORBIDDEN[package])
    ]
    assert not upwards


def test_a_long_module_says_its_one_reason_in_its_first_lines() -> None:
    silent = []
    for path in (*modules().values(), *(sources.ROOT / "tests").rglob("*.py")):
        lines = path.read_text().splitlines()
        if len(lines) > LONG and not any(line.startswith(REASON) for line in lines[:FIRST_LINES]):
            silent.append(f"{path}: {len(lines)} lines")
    assert not silent
