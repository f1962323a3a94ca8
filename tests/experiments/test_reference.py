"""docs/scenario.md and docs/cluster-scenario.md are what the schema says, and say something of every key."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from experiments.specs.cluster import ClusterScenario
from experiments.specs.reference import CLUSTER_SECTIONS, COLUMNS, DOCS, SECTIONS, Section, pages, rows_of


@pytest.mark.parametrize("name", ["scenario.md", "cluster-scenario.md"])
def test_a_page_is_made_from_the_schema(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "make it anew: python -m experiments.specs.reference"


def described(sections: tuple[Section, ...]) -> dict[tuple[str, str], dict[str, str]]:
    """Rows by section and key, each with a type, a default and a meaning."""
    rows = {
        (heading, row[0]): dict(zip(COLUMNS, row, strict=True))
        for heading, model, _ in sections
        for row in rows_of(model)
    }
    for place, row in rows.items():
        assert row["type"], place
        assert row["default"], place
        assert len(row["meaning"]) > 5, place
    return rows


def test_every_key_of_a_clusters_scenario_is_there_with_what_it_means() -> None:
    rows = described(CLUSTER_SECTIONS)
    tables = {heading.strip("[]") for heading, _, _ in CLUSTER_SECTIONS[1:]}
    names = {field.alias or name for name, field in ClusterScenario.model_fields.items()}
    assert {name for heading, name in rows if heading == "Top level"} == names
    models = {
        name for heading, name in rows if heading == "Top level" and rows[heading, name]["type"] in ("table", "tables")
    }
    assert models == tables
    assert all(issubclass(model, BaseModel) for _, model, _ in CLUSTER_SECTIONS)
    assert rows["[network]", "delay_us"]["unit"] == "us"
    assert rows["[network]", "rate"]["default"] == "100 Gb/s"
    assert rows["[costs]", "start_s"]["unit"] == "s"
    assert rows["[cluster]", "hosts"]["default"] == "those of `topology`"
    assert rows["[aryl]", "victims"]["allowed"] == "preemption_cost, count, priority, optimal"
    assert rows["[list]", "format"]["allowed"] == "philly, helios"


def test_every_key_has_a_type_a_default_and_a_meaning() -> None:
    rows = described(SECTIONS)
    assert len(rows) > 90
    assert rows["[network]", "delay_us"]["unit"] == "us"
    assert rows["[network]", "racks"]["allowed"] == "1 or more, at most 500, each from 1 to 500"
    assert rows["[job_defaults]", "jitter"]["allowed"] == "from 0 below 1"
    assert rows["[job_defaults]", "order"]["allowed"] == "ddp, front-first"
    assert rows["[virtual]", "carry_gradients"]["type"] == "true or false"
