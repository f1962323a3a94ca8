"""Python's garbage collector, where hundreds of thousands of objects are made and none of them is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 20, 20)


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Look for garbage that counting references does not find less often than Python does by itself, which looks at all
    objects, imported packages' too, whenever there are a quarter more. Used as a function's decorator, too.
    """
    before = gc.get_threshold()
    if before[0]:  # 0: it does not look at all
        gc.set_threshold(*map(max, before, _THRESHOLDS))
    try:
        yield
    finally:
        gc.set_threshold(*before)
