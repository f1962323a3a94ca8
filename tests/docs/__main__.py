"""`make commands`: run every command block of README and docs, those that take long too (but no tests)."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.docs.blocks import PAGES, blocks, fresh_tree, run

LIMIT_S = 3600.0


def main() -> int:
    failed = 0
    for page in PAGES:
        if not any(block.language == "sh" for block in blocks(page)):
            continue
        if page.name == "bmv2.md" and shutil.which("simple_switch_grpc") is None:
            print(f"{page.name}: left out, there is no simple_switch_grpc on the PATH", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="esa-docs-") as folder:
            tree = fresh_tree(Path(folder))
            copy = tree / page.name
            copy.write_text(re.sub(r"^make test\b.*$", "true", page.read_text(), flags=re.MULTILINE))
            start = time.monotonic()
            try:
                run(copy, tree, LIMIT_S, long=True)
                print(f"{page.name}: every block ran, {time.monotonic() - start:.0f} s", flush=True)
            except AssertionError as error:
                failed += 1
                print(error, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
