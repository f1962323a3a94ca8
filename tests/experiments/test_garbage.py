"""How often Python looks for garbage: less often for a while, and as before again, whatever happens meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from experiments.common.garbage import rarely_collecting


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("before", "within"),
    [((700, 10, 10), (50_000, 20, 20)), ((90_000, 5, 30), (90_000, 20, 30)), ((0, 10, 10), (0, 10, 10))],
)
def test_only_meanwhile_and_never_more_often(before: tuple[int, ...], within: tuple[int, ...]) -> None:
    gc.set_threshold(*before)
    seen = []

    @rarely_collecting()
    def work(fails: bool) -> None:
        seen.append(gc.get_threshold())
        if fails:
            raise ValueError("work")

    work(False)
    assert gc.get_threshold() == before
    with pytest.raises(ValueError, match="work"):
        work(True)
    assert (seen, gc.get_threshold()) == ([within] * 2, before)
