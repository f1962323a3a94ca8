"""How often Hypothesis tries a property: where slow tests are left out, as in `make check`, a fifth as often."""

from __future__ import annotations

SHARE = 5
quick = False  # set by conftest.py, before any test is collected


def tries(count: int, least: int = 1) -> int:
    """Return how many examples to draw of `count` in the whole suite."""
    return max(least, count // SHARE) if quick else count
