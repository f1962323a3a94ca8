"""The pictures of docs/concepts.md are those that their program draws, one for each policy that is told of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from esa.policy import POLICIES
from tests.docs.blocks import ROOT

FOLDER = ROOT / "docs" / "figures"


def test_pictures_are_as_they_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("drawn_policies", FOLDER / "policies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_text() for path in FOLDER.glob("policy-*.svg")}
    assert set(module.PICTURES) <= set(POLICIES)
    concepts = (ROOT / "docs" / "concepts.md").read_text()
    for name, picture in module.PICTURES.items():
        assert f"![{name}: {picture.title}](figures/policy-{name}.svg)" in concepts
        told = concepts.split(f"\n### {name}\n")[1].split("\n##")[0]
        assert max(way.number for way in picture.ways) == told.count("\n1. ") + sum(
            told.count(f"\n{number}. ") for number in range(2, 10)
        )
