"""Networks need root and Mininet; BMv2 is optional."""

from __future__ import annotations

import os
import shutil

import pytest

from topologies.p4switch import BMV2


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")


@pytest.fixture(params=["embedded", "bmv2"])
def switch_kind(request: pytest.FixtureRequest) -> str:
    if request.param == "bmv2" and shutil.which(BMV2) is None:
        pytest.skip(f"needs BMv2: {BMV2} is not on the PATH")
    return str(request.param)
