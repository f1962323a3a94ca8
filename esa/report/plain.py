"""Text of a run's files as it is shown: what a scenario calls its parts changes nothing on a terminal or a page.

Markup is for whoever writes it to escape (`rich.text.Text`, Jinja2). What no writer escapes are characters that are
none: controls, among them what begins a terminal's commands, and those that turn the direction of text around.
"""

from __future__ import annotations

import unicodedata

MAX_LENGTH = 200  # of a name; more is no name
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: object, most: int = MAX_LENGTH) -> str:
    r"""The text on one line, what cannot be seen written out ("\x1b"), cut at `most` characters."""
    shown = "".join(map(_seen, str(text)[: most + 1]))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _seen(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
