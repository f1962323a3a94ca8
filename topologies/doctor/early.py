"""A live run that dies before it has begun: the doctor looks by itself, and says what is wrong with the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from esa.errors import BadInput, EsaError


@contextlib.contextmanager
def examined(say: Callable[[str], object], begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Say what `esa doctor` finds wrong if the block fails and has not `begun`; what ended it goes on.

    A request that is wrong says so itself (status 2): then the machine is not looked at.
    """
    try:
        yield
    except Exception as error:
        refused = isinstance(error, BadInput) or (isinstance(error, EsaError) and error.status == BadInput.status)
        if not refused and not begun():
            from topologies.doctor import examine
            from topologies.doctor.finding import short

            for line in short(examine()):
                say(line)
        raise
