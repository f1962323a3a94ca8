"""Language models as shapes, GPUs as constants, and what both make of weights and keys and values (KV)."""

from __future__ import annotations

from dataclasses import dataclass

from esa.errors import BadInput

HALF = 2  # bytes of a number: FP16 or BF16


@dataclass(frozen=True)
class Llm:
    """A decoder-only transformer. matrices: of its feed-forward part, 3 where it is gated."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    matrices: int
    vocabulary: int
    head_size: int = 128

    @property
    def grouped(self) -> bool:
        """Several query heads share keys and values."""
        return self.kv_heads < self.heads

    @property
    def kv_bytes(self) -> int:
        """Of a token, all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size * HALF

    def kv_heads_at(self, tp: int) -> int:
        """Of each GPU."""
        return -(-self.kv_heads // tp)

    def layer_parameters(self, tp: int = 1) -> float:
        """A GPU's part of a layer: query, key, value and output, and the feed-forward part."""
        attention = self.head_size * (2 * self.heads / tp + 2 * self.kv_heads_at(tp))
        return self.hidden * (attention + self.matrices * self.ffn / tp)

    def weight_bytes(self, tp: int = 1, pp: int = 1, *, embedding: bool = True) -> float:
        """A GPU's part; the embedding, which the output shares, is split like the rest."""
        table = self.vocabulary * self.hidden / (tp * pp) if embedding else 0.0
        return HALF * (self.layers / pp * self.layer_parameters(tp) + table)

    def check_split(self, tp: int, pp: int) -> None:
        """BadInput unless the degrees divide heads and layers."""
        if tp < 1 or self.heads % tp:
            raise BadInput(f"tp: {tp}; allowed: a divisor of {self.name}'s {self.heads} heads")
        if pp < 1 or self.layers % pp:
            raise BadInput(f"pp: {pp}; allowed: a divisor of {self.name}'s {self.layers} layers")


@dataclass(frozen=True)
class Gpu:
    """Peak of dense FP16, memory in GiB, its bandwidth as the vendor's data sheets have it. dollars: an hour."""

    name: str
    tflops: float
    memory_gib: float
    bandwidth_gbs: float
    dollars: float | None = None


def _llm(
    name: str, layers: int, hidden: int, heads: int, *, kv_heads: int = 0, ffn: int = 0, words: int = 50272
) -> Llm:
    gated = ffn > 0
    size = hidden // heads
    return Llm(name, layers, hidden, heads, kv_heads or heads, ffn or 4 * hidden, 3 if gated else 2, words, size)


# Llama: as Vidur's profiles have them. OPT and GPT-3: FastServe's and ExeGPT's papers. Qwen3: its model card; HACK's.
MODELS = {
    one.name: one
    for one in (
        _llm("llama-2-7b", 32, 4096, 32, ffn=11008, words=32_000),
        _llm("codellama-34b", 48, 8192, 64, kv_heads=8, ffn=22016, words=32_000),
        _llm("llama-2-70b", 80, 8192, 64, kv_heads=8, ffn=28672, words=32_000),
        _llm("opt-13b", 40, 5120, 40),
        _llm("opt-66b", 64, 9216, 72),
        _llm("opt-175b", 96, 12288, 96),
        _llm("gpt3-39b", 48, 8192, 64),
        _llm("gpt3-101b", 80, 10240, 80),
        _llm("gpt3-175b", 96, 12288, 96),
        _llm("gpt3-341b", 120, 15360, 120),
        _llm("qwen3-8b", 36, 4096, 32, kv_heads=8, ffn=12288, words=151_936),
    )
}
# Teraflops, memory and dollars as Vidur has them; a100-40 as FastServe's hosts; a6000 (RTX) by its data sheet.
GPUS = {
    one.name: one
    for one in (
        Gpu("a100", 312, 80, 2039, 2.21),
        Gpu("a100-40", 312, 40, 1555),
        Gpu("h100", 1000, 80, 3350, 4.25),
        Gpu("a40", 150, 45, 696, 1.28),
        Gpu("a6000", 155, 48, 768),
    )
}


def model_of(name: str) -> Llm:
    """BadInput for one that is not known."""
    if name not in MODELS:
        raise BadInput(f"model: unknown model '{name}'; allowed: {', '.join(MODELS)}")
    return MODELS[name]


def gpu_of(name: str) -> Gpu:
    """BadInput for one that is not known."""
    if name not in GPUS:
        raise BadInput(f"gpu: unknown GPU '{name}'; allowed: {', '.join(GPUS)}")
    return GPUS[name]
