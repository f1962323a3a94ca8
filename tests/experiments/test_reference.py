"""docs/scenario.md is what the schema says, and says something of every key."""

from __future__ import annotations

from experiments.specs.reference import COLUMNS, PAGE, SECTIONS, page, rows_of


def test_the_page_is_made_from_the_schema() -> None:
    assert PAGE.read_text() == page(), "make it anew: python -m experiments.specs.reference"


def test_every_key_has_a_type_a_default_and_a_meaning() -> None:
    rows = {
        (heading, row[0]): dict(zip(COLUMNS, row, strict=True))
        for heading, model, _ in SECTIONS
        for row in rows_of(model)
    }
    assert len(rows) > 90
    for place, row in rows.items():
        assert row["type"], place
        assert row["default"], place
        assert len(row["meaning"]) > 5, place
    assert rows["[network]", "delay_us"]["unit"] == "us"
    assert rows["[network]", "racks"]["allowed"] == "1 or more, at most 500, each from 1 to 500"
    assert rows["[job_defaults]", "jitter"]["allowed"] == "from 0 below 1"
    assert rows["[job_defaults]", "order"]["allowed"] == "ddp, front-first"
    assert rows["[virtual]", "carry_gradients"]["type"] == "true or false"
