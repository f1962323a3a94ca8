"""`esa report`: tables, Markdown, JSON and a page of runs, sweeps and figures; what these are called is text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from esa.report import JobSummary, Summary, comparison_table, jct_table
from esa.report.content import compose, markdown
from esa.report.page import page
from esa.report.plain import plain
from esa.report.reading import read
from experiments import cli
from tests.report.folders import figure_folder, run_folder, summary, sweep_folder

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b]0;owned\x07\x1b[31m\x1b[2J",
    "[bold red]../../etc/passwd[/]",
    "$\\frac{1}{$ {{ 7 * 7 }} {% raw %}",
    "_hidden\u202e|`x`\n# head",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def report(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(cli.app, ["report", *map(str, arguments)], env={"COLUMNS": "120"})
    assert result.exit_code == status, result.output
    return result


class Elements(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_tables_are_printed_and_a_picture_is_drawn(tmp_path: Path) -> None:
    done = report(run_folder(tmp_path / "a"), run_folder(tmp_path / "b", summary("atp", 12.5)))
    assert re.search(r"mean JCT / esa +1\.00 +1\.25", done.stdout)
    assert "picture: report.png" in done.stdout
    assert Path("report.png").read_bytes().startswith(b"\x89PNG")


def test_one_bad_folder_among_good_ones_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = report("nowhere", run_folder(tmp_path / "a"), status=2)
    assert "mlp" in done.stdout
    assert done.stderr == "esa: nowhere: not the folder of a run, a sweep or figures: there is no such folder\n"


def test_seeds_are_taken_together_with_intervals_and_ratios(tmp_path: Path) -> None:
    folders = [
        run_folder(tmp_path / f"{policy}-{seed}", summary(policy, factor * (1 + seed / 10), seed, "virtual"))
        for policy, factor in (("esa", 1.0), ("atp", 1.5)) for seed in (1, 2, 3)
    ]  # fmt: skip
    told = json.loads(report(*folders, "--json").stdout)
    esa, atp = told["compared"]
    assert (esa["seeds"], esa["mean_jct_s"]["centre"]) == ([1, 2, 3], pytest.approx(1.2))
    assert esa["mean_jct_s"]["low"] == pytest.approx(1.2 - 4.30265 * 0.1 / 3**0.5, rel=1e-4)  # Student's t, 2 degrees
    assert [atp["per_first"][end] for end in ("low", "centre", "high")] == pytest.approx([1.5, 1.5, 1.5])
    assert "1.200000 [0.951586, 1.448414]" in report(*folders).stdout


def test_json_holds_settings_versions_seeds_and_series_and_is_json(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", summary(jct_s=float("inf"), switch="virtual"))
    told = json.loads(report(folder, "--json").stdout, parse_constant=pytest.fail)
    (run,) = told["runs"]
    assert run["summary"]["seed"] == 1
    assert run["summary"]["jobs"][0]["jct_s"] is None
    assert run["settings"]["jobs.0.name"] == "mlp"
    assert [record["taken"] for record in run["records"] if record["event"] == "sample"] == [0, 2, 4, 6]


def test_sweeps_and_figures_have_tables(tmp_path: Path) -> None:
    folders = sweep_folder(tmp_path / "sweep"), figure_folder(tmp_path / "figures")
    shown = report(*folders).stdout
    assert re.search(r"64, atp +1-3 +1\.8\d+ \[.*\] +1\.50 \[1\.50, 1\.50\]", shown)
    assert re.search(r"64 +esa +1\.5 \[1\.4, 1\.6\]", shown)
    text = report(*folders, "--markdown").stdout
    assert re.search(r"\| 128, esa \| 1-3 \| 0\.6\d+ \\\[.*\\\] \|", text)
    told = json.loads(report(*folders, "--json").stdout)
    assert len(told["sweeps"][0]["points"]) == 12
    assert told["figures"][0]["rows"][0]["jct_ms_low"] == "1.4"


def test_a_page_stands_for_itself_and_shows_the_summary_s_numbers(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / "a"), run_folder(tmp_path / "b", summary("atp", 12.5, switch="virtual"))]
    done = report(*folders, sweep_folder(tmp_path / "sweep"), "--html", "page.html")
    assert "page: page.html" in done.stdout
    assert not Path("report.png").exists()
    text = Path("page.html").read_text()
    shown = Elements(text)
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    addresses = [value for name, value in shown.attributes if name in ("src", "href", "xlink:href") and value]
    assert all(address.startswith(("#", "data:image/png")) for address in addresses)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    for figure in ("10.00", "12.500000", "1.25", "12.5%"):
        assert any(figure in piece for piece in shown.text)
    assert "prefers-color-scheme: dark" in text
    assert "var(--series-1)" in text
    assert not re.search(r"(fill|stroke): #01", text)
    identities = [value for name, value in shown.attributes if name == "id"]
    assert len(identities) == len(set(identities))
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)
    assert text.count("<svg") >= 5


def test_a_page_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    done = report(run_folder(tmp_path / "a"), "--html", "nowhere/page.html", status=2)
    assert done.stderr.strip() == "esa: html: cannot write nowhere/page.html: No such file or directory"


def hostile_summary(switch: str = "embedded") -> Summary:
    told = summary(switch=switch, names=HOSTILE, scenario=HOSTILE[0], incomplete=HOSTILE[2])
    told.switch_counters = {name: {"collisions": 1} for name in HOSTILE}
    told.policy = HOSTILE[1]
    return told


def hostile_folder(folder: Path, switch: str) -> Path:
    run_folder(folder, hostile_summary(switch))
    events = [
        line for name in HOSTILE for line in (
            {"event": "submit", "job": name, "t": 1.0}, {"event": "end", "job": name, "end": 2.0},
            {"event": "job", "name": name, "submit_s": 0.0, "start_s": 1.0, "jct_s": 2.0},
            {"event": "iteration", "job": name, "rank": 0, "t": 1.5, "loss": 1.0, "seconds": 0.1},
        )
    ]  # fmt: skip
    (folder / "records.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (folder / "scenario.toml").write_text(f"name = {json.dumps(HOSTILE[0])}\n{json.dumps(HOSTILE[3])} = 'x'\n")
    return folder


@pytest.mark.parametrize("names", ["ab", *(pytest.param(names, marks=pytest.mark.slow) for names in ("a", "ba"))])
@pytest.mark.parametrize("switch", ["embedded", pytest.param("virtual", marks=pytest.mark.slow)])
def test_hostile_names_change_nothing_on_terminal_page_or_disk(tmp_path: Path, switch: str, names: str) -> None:
    """Of the runs a, whose names are hostile, and b."""
    hostile_folder(tmp_path / "a", switch)
    run_folder(tmp_path / "b", summary(switch=switch))
    arguments = [tmp_path / name for name in names]
    before = set(tmp_path.rglob("*"))
    done = report(*arguments, "--html", "page.html", "--output", "picture.png")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout + done.stderr)
    assert "[bold red]../../etc/passwd[/]" in done.stdout
    shown = Elements(Path("page.html").read_text())
    assert not {"script", "img"} & set(shown.tags)
    assert not any(name.startswith("on") for name, _ in shown.attributes)
    assert any("<script>alert(1)</script>" in piece for piece in shown.text)
    assert any("{{ 7 * 7 }}" in piece for piece in shown.text)
    assert "\x1b" not in Path("page.html").read_text()
    told = report(*arguments, "--markdown").stdout
    assert "\n# head" not in told
    assert not re.search(r"(?<!\\)<", told)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", told)
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "page.html", tmp_path / "picture.png"}


def test_tables_of_any_command_show_names_as_text() -> None:
    console = Console(width=200, force_terminal=True, color_system="truecolor")
    with console.capture() as capture:
        told = hostile_summary()
        console.print(jct_table(told), comparison_table([told, summary()]))
    assert "\x1b]0;" not in capture.get()
    assert "\x1b[31m" not in capture.get()
    assert "\x1b[2J" not in capture.get()
    assert "[bold red]" in capture.get()


def test_what_cannot_be_seen_is_written_out() -> None:
    assert plain("a\x1b[0m\u202e\n") == r"a\x1b[0m\u202e\x0a"
    assert plain("ж€😀") == "ж€😀"
    assert plain("x" * 300) == "x" * 199 + "…"


def test_a_run_that_ended_before_anything_was_measured_has_a_page(tmp_path: Path) -> None:
    told = Summary(
        scenario="s", policy="esa", switch="virtual", topology="?", seed=1, jobs=[JobSummary(name="a", workers=1)]
    )
    folder = run_folder(tmp_path / "a", told, [])
    text = page(compose(read([folder])))
    assert "records.jsonl is empty" in text
    assert "<svg" not in text
    assert "records.jsonl is empty" in markdown(compose(read([folder])))
