"""A controller and its switch, which jobs of process groups come to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from esa.float_sum import all_reduce_float
from esa.hosts import WorkerEndpoint
from tests.hosts.rig import Meeting
from tests.local_transport import LocalNetwork


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meeting]:
    WorkerEndpoint.compile()  # once, so that the ranks find it compiled
    for dtype in (np.float32, np.float64):
        all_reduce_float(LocalNetwork(1).transports[0], np.ones(1, dtype))
    with Meeting(tmp_path_factory.mktemp("meeting")) as meeting:
        yield meeting
