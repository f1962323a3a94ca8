"""The command blocks of README and docs: ```sh is run by the tests, ```sh long by `make commands` alone.

```bash is for shells on several machines, never for this one's: `tests/topologies/machines_rig.py` runs those.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^```(\w+)( long)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is its first line in the page."""

    page: Path
    line: int
    language: str
    long: bool
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines without comments, without sudo, and without files that are written down."""
        text = re.sub(r"^cat .*<<'(\w+)'\n(?s:.*?)^\1\n", "", self.text, flags=re.MULTILINE)
        lines = (re.sub(r"\s+#.*", "", line).strip().removeprefix("sudo ") for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 2, found[1], found[2] is not None, found[3])
        for found in _BLOCK.finditer(text)
    ]


def fresh_tree(folder: Path) -> Path:
    """A copy of what git has or would take, with the environment that is set up already."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    # Older than the environment: set-up finds nothing to do, and does not turn the environment to this folder.
    for name in ("Makefile", "pyproject.toml"):
        os.utime(folder / name, (0, 0))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def run(page: Path, tree: Path, limit_s: float, *, long: bool = False) -> str:
    """Run a page's blocks in order, as one shell would; what they print. AssertionError names the line that failed."""
    script = ["set -eu", 'sudo() { "$@"; }', "trap 'echo \"line $line of the page failed\" >&2' ERR"]
    for block in blocks(page):
        if block.language == "sh" and (long or not block.long):
            end = ""  # of a here-document, whose lines are no commands
            for number, line in enumerate(block.text.splitlines(), block.line):
                script += [line] if end else [f"line={number}", line]
                opened = re.search(r"<<'(\w+)'", line)
                end = opened[1] if opened else "" if line == end else end
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    with tempfile.TemporaryFile("w+") as printed:  # no pipe: what the page left running holds it open
        process = subprocess.Popen(
            ["bash", "-c", "\n".join(script)],
            cwd=tree,
            # Modules come from where the environment has them, not from the folder: they are compiled already.
            env=os.environ | {"PATH": path, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | str = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            status = f"not at its end within {limit_s:.0f} s"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if status != 0:  # the page takes its racks and namespaces down at its end
            for name in re.findall(r"^ip netns add (\S+)", page.read_text(), re.MULTILINE):
                subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=60, check=False)
            for name in re.findall(r"^esa up .*--name (\S+)", page.read_text(), re.MULTILINE):
                down = [ROOT / ".venv" / "bin" / "esa", "down", name]
                subprocess.run(down, capture_output=True, timeout=60, check=False)
        printed.seek(0)
        output = printed.read()
    assert status == 0, f"{page.name}: {status}\n{output}"
    return output
