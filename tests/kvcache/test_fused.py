"""Attention in one pass over a cache's bytes, to that of the cache itself: compiled, and as a Triton kernel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import esa.kvcache
from esa.kvcache.cache import BlockCache, PaperCache
from esa.kvcache.fused import Fused
from tests.effort import tries
from tests.kvcache.coded import LAYOUTS, apart, filled, worst

TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(not TRITON, reason="the package triton (extra 'triton') is not installed")

# What Triton's own compiler makes of both kernels for a GPU that need not be there.
COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from esa.kvcache import fused_triton

KINDS = {"query": "*fp32", "top": "*fp32", "total": "*fp32", "mixed": "*fp32", "key": "*u8", "value": "*u8"}
KINDS |= {f"{of}_{what}": kind for of in ("key", "value")
          for what, kind in (("scale", "*fp16"), ("least", "*fp16"), ("sums", "*i32"))}
SIZES = {"PIECES": 2, "TOKENS": 64, "CHANNELS": 64, "ROWS": 16}
for kernel in (fused_triton._code, fused_triton._paper):
    kinds = {name: "constexpr" if name in SIZES else KINDS.get(name, "i32") for name in kernel.arg_names}
    made = triton.compile(
        ASTSource(kernel, kinds, SIZES), target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": False}
    )
    assert "mma.sync" in made.asm["ptx"], "no matrix unit"
    assert made.asm["cubin"]
"""


@settings(max_examples=tries(25), deadline=None)
@given(
    st.sampled_from(LAYOUTS),
    st.integers(1, 120),
    st.sampled_from([8, 12, 16, 24]),
    st.sampled_from([8, 16, 24, 32]),
    st.integers(0, 999),
)
def test_fused_attention_is_that_of_the_cache(
    layout: type[BlockCache], tokens: int, dim: int, part: int, seed: int
) -> None:
    assert apart(filled(layout, tokens, dim, part, seed), "native") < 1e-4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_that_close_later_are_attended_to(layout: type[BlockCache]) -> None:
    random = torch.Generator().manual_seed(1)
    fused = Fused(layout(16, 16))
    for _ in range(5):
        key, value = (torch.randn(13, 16, generator=random) for _ in range(2))
        fused.append(key, value)
        query = torch.randn(2, 16, generator=random)
        assert torch.allclose(fused.attend(query), fused.cache.attend(query), rtol=1e-4, atol=1e-5)
    assert fused.octets() == fused.cache.octets()


def test_what_cannot_be_attended_to_is_refused() -> None:
    with pytest.raises(ValueError, match="kernels: unknown kernels 'cuda'; allowed: native, triton"):
        Fused(BlockCache(16), "cuda")
    with pytest.raises(ValueError, match="cache: no tokens; allowed: one and more"):
        Fused(BlockCache(16)).attend(torch.zeros(1, 16))
    with pytest.raises(ValueError, match=r"query \(16,\); allowed: \(queries, 16\)"):
        Fused(filled(PaperCache, 4, 16, 16, 1)).attend(torch.zeros(16))


def test_where_there_is_no_triton_its_kernels_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "esa.kvcache.fused_triton", raising=False)
    monkeypatch.delattr(esa.kvcache, "fused_triton", raising=False)
    with pytest.raises(
        ValueError, match=r"kernels: triton cannot be imported .*; allowed: native, or the extra 'triton'"
    ):
        apart(filled(BlockCache, 40, 16, 16, 1), "triton")


def in_python(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: how Triton runs a kernel it decides when it is imported."""
    there = os.environ | environment | {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], env=there, capture_output=True, text=True, timeout=110)


@needs_triton
def test_tritons_kernels_are_the_cache_s_in_its_interpreter(tmp_path: Path) -> None:
    done = in_python(tmp_path, "-m", "tests.kvcache.coded", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.slow
def test_triton_compiles_both_kernels_for_matrix_units(tmp_path: Path) -> None:
    done = in_python(tmp_path, "-c", COMPILE)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_tritons_kernels_are_the_cache_s_on_a_gpu() -> None:
    assert worst(None, "cuda") < 1e-4
