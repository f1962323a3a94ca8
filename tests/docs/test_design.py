"""Every folder says in one line of docs/design.md what it is for."""

from __future__ import annotations

import re

from esa.sources import ROOT

TREES = ("esa", "controller", "topologies", "experiments", "tests")


def folders() -> set[str]:
    """Those that hold anything, from the root."""
    files = (file for tree in TREES for file in (ROOT / tree).rglob("*") if file.is_file())
    paths = {file.parent.relative_to(ROOT).as_posix() for file in files if "__pycache__" not in file.parts}
    return {path for path in paths if not any(part.startswith(".") for part in path.split("/"))}


def described() -> set[str]:
    """Folders that a row of a table is about, and those inside them that it names."""
    found = set()
    for line in (ROOT / "docs" / "design.md").read_text().splitlines():
        if line.startswith("| `"):
            about, told = line.strip("| ").split(" | ", 1)
            first = ""
            for name in re.findall(r"`([\w./-]+)`", about):
                # "`a/b/c/`, `d/`" is about a/b/d, too, as "`a/b.py`, `c.py`" is about a/c.py.
                path = name if name.startswith(TREES) else f"{first.rstrip('/').rpartition('/')[0]}/{name}"
                first = first or path
                found.add(path.rstrip("/"))
                found |= {f"{path.rstrip('/')}/{inner}".rstrip("/") for inner in re.findall(r"`([\w-]+/)`", told)}
    return found


def test_every_folder_has_its_purpose_in_one_line() -> None:
    assert not sorted(folder for folder in folders() - described() if "/corpus/" not in folder)


def test_no_line_is_about_a_folder_or_a_file_that_is_not() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    for name in re.findall(r"^\| `((?:esa|controller|topologies|experiments|tests)/[\w./-]*)`", text, re.MULTILINE):
        assert (ROOT / name).exists(), name
