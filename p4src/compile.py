"""Compile p4src/esa.p4 with p4c into esa/compiled/, once per number of lanes, and record the hash of the source.

Run by `make p4`; needs `p4c-bm2-ss` on the PATH. The compiled files are kept in the repository, so nobody else does.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent
BUILD = SOURCE.parent / "esa" / "compiled"
AGGREGATORS = {0: 65536, 64: 8192, 256: 4096}  # rows per build, by lanes; the payload-free build is for virtual time


def source_hash() -> str:
    """SHA-256 over every P4 file and this one, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCE.glob("*.p4"), Path(__file__)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _without_source_info(node: object) -> object:
    # Line numbers and source fragments are half of the file and change with every comment.
    if isinstance(node, dict):
        return {key: _without_source_info(value) for key, value in node.items() if key != "source_info"}
    if isinstance(node, list):
        return [_without_source_info(value) for value in node]
    return node


def compile_program(lanes: int, compiler: str) -> None:
    program, p4info = BUILD / f"esa-{lanes}.json", BUILD / f"esa-{lanes}.p4info.txtpb"
    macros = [f"-DLANES={lanes}", f"-DAGGREGATORS={AGGREGATORS[lanes]}"]
    command = [compiler, *macros, "--p4runtime-files", str(p4info), "-o", str(program), "esa.p4"]
    print(f"compiling {program.name} and {p4info.name}", flush=True)
    subprocess.run(command, cwd=SOURCE, check=True)
    slim = _without_source_info(json.loads(program.read_text()))
    program.write_text(json.dumps(slim, separators=(",", ":")) + "\n")


def main() -> int:
    compiler = shutil.which("p4c-bm2-ss")
    if compiler is None:
        print("make p4: p4c-bm2-ss is not on the PATH; see README.md, 'p4c and BMv2'", file=sys.stderr)
        return 2
    BUILD.mkdir(exist_ok=True)
    for lanes in AGGREGATORS:
        compile_program(lanes, compiler)
    (BUILD / "source.sha256").write_text(source_hash() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
