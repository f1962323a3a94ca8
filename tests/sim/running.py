"""The embedded switch as a process of its own, compared as BMv2 is: the same command line, the same RPCs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.p4 import bmv2
from tests.p4.bmv2 import Bmv2

COMMAND = Path(sys.executable).with_name("esa-switch")


class Embedded(Bmv2):
    """`esa-switch` with ports 0..ports-1, loaded with the program; a context manager."""

    def _start(self, lanes: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bmv2, "COMMAND", str(COMMAND))
            super()._start(lanes)

    def registers(self, names: Iterable[str]) -> dict[str, list[int]]:
        """All cells of each register array, over P4Runtime."""
        return {name: self.switch.read_registers(name) for name in names}
