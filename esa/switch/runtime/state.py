"""The memory that a program's generated code works on, before a packet has come."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from esa.switch.compiler import target
from esa.switch.compiler.layout import Layout


def new_state(module: ModuleType, layout: Layout, later: bool) -> Any:
    """The module's `State`, all zeros; `later`: packets of the program may pass through the switch again."""
    slots = target.LATER + 1 if later else 1
    return module.State(
        np.zeros(layout.vector, np.int64),
        np.zeros(layout.vector, np.int64),
        _aligned(layout.words32),
        np.zeros(layout.words64, np.int64),
        np.zeros((slots, max(layout.n_cells, 2)), np.int64),
        np.zeros((slots, target.LATER_BYTES if later else 1), np.uint8),
        np.zeros(slots, np.int64),
    )


def _aligned(words: int) -> npt.NDArray[np.uint32]:
    """Zeroed words that start on a cache line."""
    memory = np.zeros(words + 16, np.uint32)
    skip = (-memory.ctypes.data % 64) // 4
    return memory[skip : skip + words]
