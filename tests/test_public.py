"""What `import esa` and `esa.report` offer, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import esa
import esa.report

QUICK = """
import sys
import {}
print(sorted(sys.modules.keys() & {{"numpy", "numba", "torch", "grpc", "pydantic"}}))
"""
CONTROL = """
import sys
import {}
print(sorted(sys.modules.keys() & {{"numba", "scipy", "torch"}}))
"""


@pytest.mark.parametrize("name", esa.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(esa, name) is not None
    assert name in dir(esa)


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'esa' has no attribute 'frobnicate'"):
        _ = esa.frobnicate


@pytest.mark.parametrize("module", ["esa", "experiments.cli"])
def test_what_takes_long_is_imported_when_it_is_used(module: str) -> None:
    """`experiments.cli` is the command `esa`, which answers `--help` at once."""
    text = QUICK.format(module)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "module",
    [
        "controller.cli",
        "esa.switch.cli.__main__",
        "topologies.launcher.job_command",
        "topologies.launcher.launch",
        "topologies.launcher.up",
    ],
)
def test_the_control_plane_does_without_a_compiler(module: str) -> None:
    text = CONTROL.format(module)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", esa.report.__all__)
def test_a_name_of_reports_is_there(name: str) -> None:
    assert getattr(esa.report, name) is not None
    assert name in dir(esa.report)
