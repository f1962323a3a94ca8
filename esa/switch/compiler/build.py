"""From generated text to a callable: compiled by Numba and kept on disk, or run as plain Python."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from esa import native_parts
from esa.native_cache import cache_directory
from esa.switch.compiler import machine

COMPILED = """from numba import njit

from esa.native_parts import Entry, Part
from esa.switch.compiler.machine import machine

# Only `step` is called from Python; nothing here allocates, so nothing needs reference counts.
_inner = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "no_rewrites": True, "pipeline_class": Part}
compiled = njit(nogil=True, _nrt=False, error_model="numpy", **_inner)
entry = njit(nogil=True, _nrt=False, error_model="numpy", cache=True, pipeline_class=Entry)"""
PLAIN = """def compiled(function):
    return function


entry = machine = compiled"""


def plain_module(text: str, hooks: Mapping[str, Callable[..., Any]] | None = None) -> ModuleType:
    """The module as plain Python; `hooks` are functions that it calls besides its own."""
    module = ModuleType("esa_switch_program")
    module.__dict__.update(hooks or {})
    exec(compile(text.replace("{decorators}", PLAIN, 1), "<generated P4 program>", "exec"), module.__dict__)
    return module


def compiled_module(text: str) -> ModuleType:
    """The module with Numba's decorators, imported from the cache directory so that compiled code is kept.

    A process that loads a program again has the module: it is functions alone, whose memory is their caller's.
    """
    text = text.replace("{decorators}", COMPILED, 1)
    how = "".join(Path(each).read_text() for each in (machine.__file__, native_parts.__file__))
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {how} {text}".encode()).hexdigest()[:24]
    folder = cache_directory("esa-switch") / digest
    path = folder / "program.py"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"program.{os.getpid()}.tmp"
        draft.write_text(text)
        draft.replace(path)  # whole or not at all: another process may be reading
    name = f"esa_switch_{digest}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):  # another has its machine code elsewhere
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def warm_up(
    step: Any,
    arguments: tuple[Any, ...],
    progress: Callable[[str], None] | None,
    apart: Callable[[], None] | None = None,
) -> None:
    """Make the compiled code ready, from disk or by compiling; says so if that takes a while.

    Of processes that need the same code at once, one compiles it. `apart` is called first where it is not on the disk,
    to put it there.
    """
    folder = Path(step.py_func.__code__.co_filename).parent
    cached = any((folder / "__pycache__").glob("*.nbi"))
    if progress is not None and not cached:
        progress(f"compiling the P4 program for this processor (once; kept in {folder})")
    start = time.perf_counter()
    if apart is not None and not cached:
        apart()
    with nullcontext() if cached else _only_one(folder):
        step(*arguments)
    if progress is not None and not cached:
        progress(f"compiled in {time.perf_counter() - start:.1f} s")
