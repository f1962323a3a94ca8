"""The dashboard asks for metrics and labels that there are, in expressions that Prometheus understands."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from typer.testing import CliRunner

from experiments.cli import app
from experiments.grafana import PANELS, dashboard
from tests.metrics.asking import needs_promtool
from tests.metrics.test_serving import ALL

LABELS = {family.name: set(family.labels) for family in ALL}
EXPRESSIONS = [(query.expression, query.legend) for panel in PANELS for query in panel.queries]


def test_every_query_names_a_metric_and_labels_that_exist() -> None:
    for expression, legend in EXPRESSIONS:
        (name,) = re.findall(r"\besa_\w+", expression)
        assert name in LABELS, expression
        by = re.findall(r"\((?:[\w, ]+)\)", expression.partition("rate")[0])
        used = {*re.findall(r"\{\{(\w+)\}\}", legend), *re.findall(r"(\w+)=~", expression)}
        used |= {label for group in by for label in re.findall(r"\w+", group)}
        assert used <= LABELS[name], expression
        assert ("rate(" in expression) == name.endswith("_total"), expression


def test_the_command_prints_what_grafana_imports() -> None:
    printed = json.loads(CliRunner().invoke(app, ["grafana"]).output)
    assert printed == dashboard()
    assert len({panel["id"] for panel in printed["panels"]}) == len(PANELS)
    assert "label_values(esa_job_rows, job_name)" in {v.get("query") for v in printed["templating"]["list"]}
    assert {variable["name"] for variable in printed["templating"]["list"]} == {"source", "job"}


@needs_promtool
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"esa:query{i}", "expr": expression.replace("$__rate_interval", "1m").replace("$job", ".*")}
        for i, (expression, _) in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout
