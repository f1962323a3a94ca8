"""The JSON programs in BMv2's own repository load, but those named; `BMV2_SOURCE` says where a copy of it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from esa.switch import Pipeline, UnsupportedError

SOURCE = os.environ.get("BMV2_SOURCE")
# By what is refused, a word of the message.
REFUSED = {
    "keys of other widths": ("parse_vset.json",),
    "max_size": ("pvs_struct_2.json",),
    # of another architecture
    "ingress": ("pna-demo-L2-one-table.json",),
}


@pytest.mark.supports("programs: JSON of older compilers, and by hand")
@pytest.mark.refuses("programs: other architectures (PSA, PNA)")
@pytest.mark.skipif(SOURCE is None, reason="needs a copy of p4lang/behavioral-model: BMV2_SOURCE names it")
def test_bmv2s_own_programs_load_but_those_named() -> None:
    assert SOURCE is not None
    documents = {path: json.loads(path.read_text()) for path in sorted(Path(SOURCE).rglob("*.json"))}
    # The rest are configurations that stop before there is a program.
    programs = {path: root for path, root in documents.items() if "pipelines" in root}
    assert programs, f"{SOURCE} has no programs"
    refused = {}
    for path, root in programs.items():
        try:
            Pipeline.load(root, compiled=False)
        except UnsupportedError as error:
            refused[path.name] = str(error)
    expected = {name: word for word, names in REFUSED.items() for name in names}
    assert refused.keys() == expected.keys() & {path.name for path in programs}
    for name, message in refused.items():
        assert expected[name] in message
