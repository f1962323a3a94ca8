"""What a KV cache costs on its way from prefill to decode and afterwards, by method: bytes and times.

    METHODS["hack"].wire(KvShape(36, 8, 128), 4096, 64)       # bytes of a request, `esa/kvcache/sizes.py`

Decode attention goes by what HACK's artefact prints for one layer of Qwen3-8B on an A6000 (us, K thousands of tokens):
BF16 1.58 + 6.13 K, dequantising 4.36 + 2.43 K, HACK 8.26 + 1.79 K, both with 84 of 512 MiB. What is not reading bytes
is a constant by kernel and one by token, taken to be any GPU's: of HACK's on an H200 the artefact's figures leave the
same by token within a tenth, of dequantising 0.6 of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from esa.errors import BadInput
from esa.kvcache.sizes import CACHEGEN_LIKE, KVQUANT_LIKE, KvShape, cut_bytes, fp16_bytes, hack_bytes
from esa.serving.models import HALF, Gpu, Llm

Bytes = Callable[[KvShape, int, int], int]  # of a model, tokens and a partition

_LAYER = KvShape(1, 8, 128)  # that the artefact's kernels are of
_READ_NS = 6.13  # by token, in 16 bits
_PART = 84 / 512  # of those bytes, as its other kernels read
_HACK_NS, _DEQUANTISED_NS = 1.79 - _PART * _READ_NS, 2.43 - _PART * _READ_NS
_HACK_US, _DEQUANTISED_US = 8.26 - 1.58, 4.36 - 1.58
_STEP = 8  # channels; fewer at a time save no work
_MEMORY_PART = 0.8  # of the GPU's bandwidth, that coding a cache has
CODING_GBS = 10.0  # of 16-bit values, that CacheGen-like codes or decodes on a GPU: a guess


class Method(NamedTuple):
    """wire, stored: bytes of a request, sent and kept by decode. codes: the cache is rewritten when a prompt is over.

    kernel_us: of a layer's attention, more than in 16 bits; token_ns: likewise by token, for 8 heads of K and V of 128.
    coding_gbs: of an entropy coder before it is sent and when it has come; None: there is none.
    """

    name: str
    wire: Bytes
    stored: Bytes
    codes: bool = True
    kernel_us: float = 0.0
    token_ns: float = 0.0
    coding_gbs: float | None = None

    def coding_ns(self, model: Llm, gpu: Gpu, tp: int, tokens: int, part: int) -> tuple[int, int]:
        """At prefill, and at decode before a request can go on."""
        if not self.codes:
            return 0, 0
        shape = shape_of(model)
        read = fp16_bytes(shape, tokens)
        written = self.wire(shape, tokens, part)
        packing = (read + written) / (tp * gpu.bandwidth_gbs * _MEMORY_PART)
        entropy = 0.0 if self.coding_gbs is None else read / (tp * self.coding_gbs)
        return round(packing + entropy), round(entropy)

    def part_read(self, model: Llm, tokens: int, part: int) -> float:
        """Of the 16-bit bytes of a request's cache, that attention reads."""
        shape = shape_of(model)
        return self.stored(shape, tokens, part) / fp16_bytes(shape, tokens)

    def extra_ns(self, model: Llm, tp: int, context: int) -> float:
        """Of one layer's attention, but for reading bytes. context: tokens of all requests."""
        own = model.kv_heads_at(tp) * model.head_size * 2 * HALF
        return 1e3 * self.kernel_us + self.token_ns * context * own / fp16_bytes(_LAYER, 1)


def shape_of(model: Llm) -> KvShape:
    return KvShape(model.layers, model.kv_heads, model.head_size)


def _fp16(shape: KvShape, tokens: int, part: int) -> int:
    return fp16_bytes(shape, tokens)


def _published(share: float) -> Bytes:
    return lambda shape, tokens, part: round(share * fp16_bytes(shape, tokens))


def _cut(keep: float) -> Bytes:
    """ZeroC: so much of the channels of K and V, in steps of 8."""

    def octets(shape: KvShape, tokens: int, part: int) -> int:
        kept = max(_STEP, round(keep * shape.dim / _STEP) * _STEP)
        return cut_bytes(shape, tokens, min(kept, shape.dim), min(kept, shape.dim))

    return octets


METHODS = {
    one.name: one
    for one in (
        Method("fp16", _fp16, _fp16, codes=False),
        Method(
            "cachegen-like",
            _published(CACHEGEN_LIKE[1]),
            _published(CACHEGEN_LIKE[0]),
            kernel_us=_DEQUANTISED_US,
            token_ns=_DEQUANTISED_NS,
            coding_gbs=CODING_GBS,
        ),
        Method(
            "kvquant-like",
            _published(KVQUANT_LIKE[1]),
            _published(KVQUANT_LIKE[0]),
            kernel_us=_DEQUANTISED_US,
            token_ns=_DEQUANTISED_NS,
        ),
        Method("hack", hack_bytes, hack_bytes, kernel_us=_HACK_US, token_ns=_HACK_NS),
        *(Method(f"zeroc-{keep:g}", _cut(keep), _cut(keep), codes=False) for keep in (0.25, 0.5, 0.75)),
    )
}
OF_HACK = ("fp16", "cachegen-like", "kvquant-like", "hack")  # HACK, and what its authors compare it with


def method_of(name: str) -> Method:
    """BadInput for one that is not known."""
    if name not in METHODS:
        raise BadInput(f"method: unknown method '{name}'; allowed: {', '.join(METHODS)}")
    return METHODS[name]
