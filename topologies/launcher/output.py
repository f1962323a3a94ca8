"""What several processes print, as whole lines on our own stdout and stderr, each with its process's prefix."""

from __future__ import annotations

import os
import selectors
import subprocess
from typing import IO, NamedTuple

from topologies.launcher.forks import Forked

LONGEST_LINE = 1 << 16  # bytes; what is longer goes on in a line of its own
COLOURS = (36, 33, 32, 35, 34, 31)  # of a terminal, by turns


class _Source(NamedTuple):
    prefix: bytes
    sink: IO[bytes]
    buffer: bytearray


class Output:
    """Reads processes' pipes; `pump` passes on what has come.

    out, err: where stdout and stderr go. Colours are for terminals alone, and not where NO_COLOR is set.
    """

    def __init__(self, out: IO[bytes], err: IO[bytes]) -> None:
        self._out, self._err = out, err
        self._selector = selectors.DefaultSelector()

    def add(self, process: subprocess.Popen[bytes] | Forked, name: str, colour: int) -> None:
        """Take those of a process's stdout and stderr that are pipes; its lines come out as "[name] ..."."""
        for pipe, sink in ((process.stdout, self._out), (process.stderr, self._err)):
            if pipe is None:
                continue
            os.set_blocking(pipe.fileno(), False)
            prefix = f"[{name}] "
            if sink.isatty() and "NO_COLOR" not in os.environ:
                prefix = f"\033[{COLOURS[colour % len(COLOURS)]}m[{name}]\033[0m "
            self._selector.register(pipe, selectors.EVENT_READ, _Source(prefix.encode(), sink, bytearray()))

    @property
    def open(self) -> bool:
        """Whether any pipe may still bring something."""
        return bool(self._selector.get_map())

    def pump(self, timeout_s: float) -> bool:
        """Pass on what has come, waiting for it at most `timeout_s`; whether anything has."""
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
            source: _Source = key.data
            chunk = os.read(pipe.fileno(), LONGEST_LINE)
            if not chunk:
                self._selector.unregister(pipe)
                pipe.close()
            _pass_on(source, chunk)
        return bool(ready)

    def close(self) -> None:
        """Pass on unfinished lines, and close all pipes."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
            _pass_on(key.data, b"")
        self._selector.close()


def _pass_on(source: _Source, chunk: bytes) -> None:
    """Write the lines that are whole now; at the end (an empty chunk) the rest, too."""
    source.buffer.extend(chunk)
    *lines, rest = bytes(source.buffer).split(b"\n")
    if rest and (not chunk or len(rest) >= LONGEST_LINE):
        lines.append(rest)
        rest = b""
    source.buffer[:] = rest
    if lines:
        source.sink.write(b"".join(source.prefix + line + b"\n" for line in lines))
        source.sink.flush()
