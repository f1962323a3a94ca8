"""The same code in three builds: as shipped, as plain Python, and counted (branches counted, bounds checked)."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numba
import numpy as np

import esa.protocol
from esa.native_cache import cache_directory
from esa.program import program
from esa.switch import Pipeline
from tests.fuzz import coverage

_MODULES = (
    "serial",
    "timers",
    "rtt",
    "packets",
    "aggregator_window",
    "a2tp",
    "congestion",
    "slots",
    "worker_ring",
    "worker_loss",
    "worker",
    "server_ring",
    "server_slots",
    "server_send",
    "server",
)
_NATIVE = """from numba import njit
from tests.fuzz.coverage import hit
native = njit(nogil=True, boundscheck=True, cache=True)
compiled = entry = machine = njit(nogil=True, boundscheck=True, cache=True, error_model="numpy", no_rewrites=True)
"""
_PLAIN = """def native(function):
    return function


def int32(value):
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
"""


@dataclass(frozen=True)
class Machines:
    """One build: `protocol` has the names of `esa.protocol`, `pipeline` runs esa/compiled/esa-64.json."""

    name: str
    protocol: Any
    pipeline: Pipeline


def _sources(package: str, count: bool) -> dict[str, str]:
    """The modules of `esa.protocol` as text of `package`, with another decorator than `esa.native`."""
    sources = {}
    for name in _MODULES:
        text = Path(str(importlib.import_module(f"esa.protocol.{name}").__file__)).read_text()
        text = text.replace("from esa.protocol", f"from {package}")
        text = text.replace("from esa.native import native_inlined\n", "").replace("@native_inlined", "@native")
        if count:
            text = coverage.counted(text, f"esa/protocol/{name}.py")
        else:
            text = text.replace("np.int32(_swap(", "int32(_swap(")  # numpy refuses what Numba cuts off
        text = text.replace("from esa.native import native_uncounted as native", _NATIVE if count else _PLAIN)
        assert "esa.native" not in text, f"{name} has another decorator"
        sources[name] = text
    return sources


def _load(package: str, sources: dict[str, str]) -> dict[str, ModuleType]:
    """Import texts as modules of `package`, from files in the cache directory: Numba keeps code only for files."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {package} {sources}".encode()).hexdigest()[:24]
    folder = cache_directory("esa-fuzz") / digest
    folder.mkdir(parents=True, exist_ok=True)
    sys.modules[package] = ModuleType(package)
    modules = {}
    for name, text in sources.items():
        path = folder / f"{name}.py"
        if not path.exists():
            path.write_text(text)
        spec = importlib.util.spec_from_file_location(f"{package}.{name}", path)
        assert spec is not None
        assert spec.loader is not None
        modules[name] = sys.modules[f"{package}.{name}"] = importlib.util.module_from_spec(spec)
        setattr(sys.modules[package], name, modules[name])
        spec.loader.exec_module(modules[name])
    return modules


def _names(modules: dict[str, ModuleType]) -> SimpleNamespace:
    return SimpleNamespace(**{name: value for m in modules.values() for name, value in vars(m).items()})


class _Direct:
    """A compiled function without the look at its arguments' types, which takes longer than most inputs do.

    Whoever calls it always passes arrays of the same types; that is so for each function that a target calls.
    """

    def __init__(self, dispatcher: Any):
        self.dispatcher = dispatcher
        self.call = self._first

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def _first(self, *arguments: Any) -> Any:
        result = self.dispatcher(*arguments)
        if len(self.dispatcher.signatures) == 1:
            self.call = self.dispatcher.overloads[self.dispatcher.signatures[0]].entry_point
        return result


class _Ints:
    """An array or a record whose elements are Python's numbers: in numpy's own, 1 + uint8 stays 8 bits wide."""

    def __init__(self, array: Any):
        self.array = array
        self.shape, self.dtype, self.tobytes = array.shape, array.dtype, array.tobytes

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        value = self.array[key]
        if isinstance(value, np.void):
            return _Ints(value)
        return value.item() if isinstance(value, np.generic) else value

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[key] = value


def _with_ints(make_state: Any) -> Any:
    def make(**settings: Any) -> Any:
        state = make_state(**settings)
        return type(state)(*map(_Ints, state))

    return make


@lru_cache
def shipped() -> Machines:
    """What users run."""
    return Machines("shipped", esa.protocol, Pipeline.load(program(64).json.read_text()))


@lru_cache
def plain() -> Machines:
    """Python without Numba: whole numbers do not wrap, indices are checked."""
    pipeline = Pipeline.load(program(64).json.read_text(), compiled=False)
    protocol = _names(_load("plain_protocol", _sources("plain_protocol", count=False)))
    protocol.worker_state = _with_ints(protocol.worker_state)
    protocol.server_state = _with_ints(protocol.server_state)
    return Machines("plain", protocol, pipeline)


@lru_cache
def counted() -> Machines:
    """Native code that counts branches and checks bounds; minutes to compile, then kept on disk."""
    pipeline = Pipeline.load(program(64).json.read_text(), compiled=False)
    sources = _sources("counted", count=True)
    switch = coverage.counted(pipeline.source.replace("{decorators}", ""), "esa.p4 (generated)")
    future = "from __future__ import annotations\n"
    sources["switch"] = switch.replace(future, future + _NATIVE, 1)
    modules = _load("counted", sources)
    switch_module = modules.pop("switch")
    pipeline.step, pipeline.state = _Direct(switch_module.step), switch_module.State(*pipeline.state)
    protocol = _names(modules)
    for name in ("worker_feed", "worker_drain", "worker_send", "worker_receive", "server_receive", "server_send"):
        setattr(protocol, name, _Direct(getattr(protocol, name)))
    return Machines("counted", protocol, pipeline)
