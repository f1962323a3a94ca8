"""How a benchmark can fail."""

from __future__ import annotations

from esa.errors import EsaError


class BenchError(EsaError, RuntimeError):
    """What was to be measured did not happen; one line."""
