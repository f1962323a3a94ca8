"""What README and docs tell a user to type does what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller import cli as esactl
from esa.job import Job, Member, Pool, Rack
from experiments import cli as esa
from tests.docs.blocks import PAGES, ROOT, Block, blocks, fresh_tree, run

LIMIT_S = 280.0
COMMANDS = {"esa": esa.app, "esactl": esactl.app}
SHORT = [page for page in PAGES if any(block.language == "sh" and not block.long for block in blocks(page))]
LONG = [block for page in PAGES for block in blocks(page) if block.language == "sh" and block.long]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", SHORT, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_in_order_on_a_fresh_tree(root: None, page: Path, tmp_path: Path) -> None:
    output = run(page, fresh_tree(tmp_path), LIMIT_S)
    if page.name in ("README.md", "by-hand.md"):
        for line in re.findall(r"rank 0: .*fragments, .*", output) or ["nothing was summed"]:
            assert re.search(r"[1-9][0-9.]*% from the (switch|PS)", line), output


# Of groups, the command that need not be named.
_UNNAMED = {"gpu": ("share",)}


@cache
def help_of(program: str, *verbs: str) -> str:
    """What a command's --help prints; nothing if there is no such command."""
    done = CliRunner().invoke(COMMANDS[program], [*verbs, "--help"])
    return done.stdout if done.exit_code == 0 else ""


@pytest.mark.parametrize("block", LONG, ids=lambda block: f"{block.page.name}:{block.line}")
def test_commands_that_take_long_exist_with_their_options(block: Block) -> None:
    for command in block.commands:
        program, *words = shlex.split(command)
        program = Path(program).name
        if program == "make":
            subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True, timeout=60)
            continue
        assert program in COMMANDS, f"{block.page.name}:{block.line}: {command}"
        verbs = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]+", word)]
        known = help_of(program, *verbs) + help_of(program, *verbs, *_UNNAMED.get(verbs[-1], ()))
        assert known, f"{block.page.name}:{block.line}: there is no {program} {' '.join(verbs)}"
        for option in (word for word in words if word.startswith("--")):
            assert option in known, f"{block.page.name}:{block.line}: {program} {' '.join(verbs)} has no {option}"


def test_every_page_is_in_the_sites_navigation() -> None:
    index = ROOT / "docs" / "index.md"
    named = set(re.findall(r"^([\w/-]+)$", index.read_text(), re.MULTILINE))
    assert {page.stem for page in PAGES if page.parent.name == "docs" and page != index} == named - {"api/index"}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_key_of_a_jobs_file_is_documented() -> None:
    page = (ROOT / "docs" / "file-formats.md").read_text()
    parts = {"": Job, "workers.": Member, "pool.": Pool, "racks.": Rack}
    rows = {
        f"| `{prefix}{name}` | {field.description}" for prefix, model in parts.items()
        for name, field in model.model_fields.items()
    }  # fmt: skip
    assert [row for row in rows if row not in page] == []
