"""What `import esa` offers, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import esa

QUICK = """
import sys
import esa
esa.__version__
print(sorted(sys.modules.keys() & {"numpy", "numba", "torch", "grpc", "pydantic"}))
"""


@pytest.mark.parametrize("name", esa.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(esa, name) is not None
    assert name in dir(esa)


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'esa' has no attribute 'frobnicate'"):
        _ = esa.frobnicate


def test_importing_esa_imports_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
