"""docs/switch.md's table is what the tests say, and hardly anything of v1model is missing from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.switch.compatibility import PAGE, features, page


def test_the_page_has_the_table_that_the_tests_make() -> None:
    text = PAGE.read_text()
    assert text == page(text), "make it anew: python -m tests.switch.compatibility"


def test_nothing_is_supported_and_refused() -> None:
    rows = features()
    names = [f"{row.area}: {row.text}" for row in rows]
    assert len(names) == len(set(names))
    assert len(rows) > 70
    assert sum(row.compared for row in rows) > 20


def test_a_feature_of_no_area_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text('@pytest.mark.supports("magic: all of it")\ndef test_magic(): pass\n')
    with pytest.raises(ValueError, match=r"test_it\.py: test_magic: 'magic: all of it': 'AREA: FEATURE' is allowed"):
        features(tmp_path)


def test_marks_are_read_as_pytest_has_them(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        '@pytest.mark.bmv2\n@pytest.mark.supports("tables: a", "tables: b")\ndef test_one(): pass\n'
        '@pytest.mark.supports("tables: b")\n@pytest.mark.refuses("numbers: c")\ndef test_two(): pass\n'
    )
    rows = [(row.area, row.text, row.kind, row.tests, row.compared) for row in features(tmp_path)]
    assert rows == [
        ("numbers", "c", "refuses", ["test_it.test_two"], False),
        ("tables", "a", "supports", ["test_it.test_one"], True),
        ("tables", "b", "supports", ["test_it.test_one", "test_it.test_two"], True),
    ]
