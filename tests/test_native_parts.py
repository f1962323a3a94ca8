"""Functions that only a program's entry calls are compiled as a piece of it, and with what Numba makes of each type."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.caching import NullCache

from esa.native import native, native_inlined, native_uncounted
from esa.native_parts import Part

PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "no_rewrites": True, "pipeline_class": Part}


@njit(nogil=True, _nrt=False, error_model="numpy", **PART)
def weigh(cells, at):  # type: ignore[no-untyped-def]
    return cells[at] * 3 + 1


@njit(nogil=True, _nrt=False, error_model="numpy", **PART)
def weigh_two(cells, at):  # type: ignore[no-untyped-def]
    return weigh(cells, at) - weigh(cells, at + 1) // 2


@njit(nogil=True, _nrt=False, error_model="numpy")
def entry(cells, count):  # type: ignore[no-untyped-def]
    total = 0
    for at in range(count):
        total += weigh_two(cells, at)
    return total


def test_the_entry_does_what_its_parts_say() -> None:
    rng = np.random.default_rng(1)
    for dtype in (np.int64, np.uint32, np.float64):
        cells = rng.integers(0, 1000, 9).astype(dtype)
        weighed = [each * 3 + 1 for each in cells.tolist()]
        assert entry(cells, 8) == sum(weighed[at] - weighed[at + 1] // 2 for at in range(8))


def test_a_part_has_no_machine_code_of_its_own() -> None:
    cells = np.arange(9)
    entry(cells, 8)
    for function in (weigh, weigh_two):
        (compiled, *_) = function.overloads.values()
        library = compiled.library
        assert library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0


@native_uncounted
def uncounted(cells):  # type: ignore[no-untyped-def]
    return cells[1:][0]


@native_inlined
def inlined(cells):  # type: ignore[no-untyped-def]
    return uncounted(cells) + 1


@native
def counted(cells):  # type: ignore[no-untyped-def]
    return inlined(cells) + uncounted(cells[1:])


def test_what_a_function_is_compiled_as_is_not_passed_on_by_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_as = {}
    define = Part.define_pipelines

    def note(self: Part) -> list[Any]:
        state = self.state
        compiled_as[state.func_id.func_name] = state.flags.nrt, state.flags.forceinline
        return define(self)

    monkeypatch.setattr(Part, "define_pipelines", note)
    monkeypatch.setattr(counted, "_cache", NullCache())  # compiled here, whatever is on the disk
    assert counted(np.arange(4)) == 4
    assert compiled_as == {"inlined": (False, True), "uncounted": (False, False)}


def test_python_and_native_code_call_the_same_function() -> None:
    cells = np.arange(5)
    assert inlined(cells) + uncounted(cells[1:]) == counted(cells) == 4


def test_a_pickle_brings_the_same_function() -> None:
    assert pickle.loads(pickle.dumps(counted)) is counted
