"""Compile the test programs beside this file with p4c-bm2-ss; the results are kept, so that tests run without p4c."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from gen_lanes import program

HERE = Path(__file__).parent
ROUTER = HERE.parents[2] / "experiments" / "examples" / "router"


def _slim(node: object) -> object:
    if isinstance(node, dict):
        return {key: _slim(value) for key, value in node.items() if key != "source_info"}
    if isinstance(node, list):
        return [_slim(value) for value in node]
    return node


def compile_program(source: Path, target: Path, p4info: Path | None = None, *options: str, lines: bool = False) -> None:
    """Compile one program; the folder it lies in is left out, and so are line numbers but where `lines` are wanted."""
    files = [] if p4info is None else ["--p4runtime-files", str(p4info)]
    subprocess.run(["p4c-bm2-ss", *options, *files, "-o", str(target), source.name], cwd=source.parent, check=True)
    root = json.loads(target.read_text())
    target.write_text(json.dumps(root if lines else _slim(root), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    plain = "arithmetic checksums chosen features idioms indexed initial kept members passes queues unions varbit"
    for name in plain.split():
        compile_program(HERE / f"{name}.p4", HERE / f"{name}.json")
    for name in (
        "ageing",
        "copies",
        "digests",
        "ipv6",
        "matches",
        "meters",
        "ranked",
        "selectors",
        "value_sets",
        "wide",
    ):
        compile_program(HERE / f"{name}.p4", HERE / f"{name}.json", HERE / f"{name}.p4info.txt")
    compile_program(HERE / "traced.p4", HERE / "traced.json", lines=True)
    for lanes in (4, 64):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"lanes-{lanes}.p4"
            source.write_text(program(lanes))
            compile_program(source, HERE / f"lanes-{lanes}.json")
    for name, options in (("router", ()), ("filter", ("-DFILTER",))):
        compile_program(ROUTER / "router.p4", ROUTER / f"{name}.json", ROUTER / f"{name}.p4info.txt", *options)
