"""What processes that start often leave out."""

from __future__ import annotations

import sys


def skip_scipy() -> None:
    """Let this process have no scipy: Numba imports scipy.linalg where it finds one, for products of matrices.

    Nothing here multiplies matrices, and the import takes 0.2 s. To be called before anything is compiled.
    """
    sys.modules["scipy"] = None  # type: ignore[assignment]
