"""Messages of log_msg: generated code leaves numbers in words, here they become text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from esa.switch.compiler.layout import LOG_HEAD, LOG_WORDS, Layout
from esa.switch.compiler.log_text import fill

_LIMIT, _USED, _MISSED = range(3)


class Messages:
    """What the program's log_msg has said since the last `tell`; without a listener nothing is kept."""

    def __init__(self, layout: Layout, m64: npt.NDArray[np.int64]) -> None:
        self._texts = layout.messages
        self._words = m64[layout.log : layout.log + LOG_HEAD + LOG_WORDS]
        self._listener: Callable[[str], None] | None = None

    def listen(self, listener: Callable[[str], None] | None) -> None:
        """Call `listener` with each message from now on; None: with none."""
        self._listener = listener
        self._words[:LOG_HEAD] = 0
        self._words[_LIMIT] = 0 if listener is None else LOG_WORDS

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return self._listener is not None

    def say(self, message: str) -> None:
        """Pass on a message that is no number in words, but text already."""
        if self._listener is not None:
            self._listener(message)

    def tell(self) -> None:
        """Pass on what the last packets have said."""
        if self._listener is None or not (self._words[_USED] or self._words[_MISSED]):
            return
        for message in self._read():
            self._listener(message)
        if self._words[_MISSED]:
            self._listener(f"log_msg: {self._words[_MISSED]} messages found no room")
        self._words[_USED] = self._words[_MISSED] = 0

    def _read(self) -> Iterator[str]:
        words = self._words[LOG_HEAD : LOG_HEAD + int(self._words[_USED])].tolist()
        at = 0
        while at < len(words):
            text, unsigned = self._texts[words[at]]
            values = words[at + 1 : at + 1 + len(unsigned)]
            yield fill(text, [v % (1 << 64) if u else v for v, u in zip(values, unsigned, strict=True)])
            at += 1 + len(unsigned)
