"""What tests need, by marker; machine code that all their processes share; and what spares them work.

A test or a fixture that makes network namespaces asks for the fixture `root`, one that runs BMv2 has a parameter of the
value "bmv2": the markers follow from that. What a machine lacks is skipped by name.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import cache

import hypothesis
import pytest
import typer.main
import typer.testing

# Before PyTorch is imported: each of several processes of tests would have a thread a processor, which wait for each
# other without sleeping.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests import effort, warm

# How long an example takes is the machine's.
hypothesis.settings.register_profile("esa", deadline=None)
hypothesis.settings.load_profile("esa")

# A test's command line is made from its functions once: for `esa` this takes longer than most of its commands in tests.
vars(typer.testing)["_get_command"] = cache(typer.main.get_command)

# Who is started in the background of a script ignores Ctrl-C, and so would all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each process of tests knows only the racks that it brought up.
OWN_FOLDER = tempfile.mkdtemp(prefix="esa-run-") if "PYTEST_XDIST_WORKER" in os.environ else None
if OWN_FOLDER is not None:
    os.environ["ESA_RUN_FOLDER"] = OWN_FOLDER


def pytest_unconfigure() -> None:
    gc.freeze()  # the process ends: nobody looks once more for garbage among what a thousand tests left
    if OWN_FOLDER is not None:
        shutil.rmtree(OWN_FOLDER, ignore_errors=True)


def _without(*commands: str) -> str:
    return ", ".join(f"{command} on the PATH" for command in commands if shutil.which(command) is None)


# Files that take long, in the order in which they begin: else one is left over for the end, when the other processors
# have nothing to do. Those after them are in the order of their names. First those of live runs, then all others that
# do without the simulator: it is compiled meanwhile.
LIVE = (
    "tests/experiments/test_run.py",
    "tests/launcher/test_launch.py",
    "tests/launcher/test_again.py",
    "tests/experiments/test_two_racks.py",
    "tests/experiments/test_rig.py",
)
FIRST = (
    *LIVE,
    "tests/torch/test_features.py",
    "tests/switch/test_differential.py",
    "tests/torch/test_backend.py",
    "tests/torch/test_hook.py",
    "tests/docs/test_blocks.py",
    "tests/experiments/test_figures.py",
)
WITHOUT_SIMULATOR = (
    *LIVE,
    "tests/controller/",
    "tests/entries/",
    "tests/hosts/",
    "tests/launcher/",
    "tests/metrics/",
    "tests/model/",
    "tests/net/",
    "tests/p4/",
    "tests/protocol/",
    "tests/switch/",
    "tests/topologies/",
    "tests/torch/",
)

LACKING = {
    "root": "root: makes network namespaces" if os.geteuid() else _without("ip"),
    "bmv2": _without("simple_switch_grpc", "simple_switch_CLI", "simple_switch"),
}


def pytest_configure(config: pytest.Config) -> None:
    effort.quick = "not slow" in config.option.markexpr
    if effort.quick:  # what does not say how often
        hypothesis.settings.register_profile("quick", deadline=None, max_examples=effort.tries(100))
        hypothesis.settings.load_profile("quick")
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        stack = contextlib.ExitStack()
        stack.enter_context(warm.warming())
        config.add_cleanup(stack.close)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[object]:
    """Modules and tests stay until the end: nobody looks for garbage among them, now or between tests.

    Nor often among what tests make: most of it goes by its count of references.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before a test's time begins
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if "PYTEST_XDIST_WORKER" in os.environ and not item.location[0].startswith(WITHOUT_SIMULATOR):
        warm.wait()
    return (yield)


@pytest.fixture(scope="session")
def root() -> None:
    """Whoever asks for it makes network namespaces."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {file: index for index, file in enumerate(FIRST)}

    def turn(item: pytest.Item) -> tuple[bool, int]:
        file = item.location[0]
        return not file.startswith(WITHOUT_SIMULATOR), place.get(file, len(place))

    items.sort(key=turn)
    for item in items:
        if isinstance(item, pytest.Function):
            if "root" in item.fixturenames:
                item.add_marker("root")
            values = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if any(isinstance(value, str) and value == "bmv2" for value in values):
                item.add_marker("bmv2")
        for marker, lacking in LACKING.items():
            if lacking and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"needs {lacking}"))
