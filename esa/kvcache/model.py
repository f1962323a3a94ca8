"""A small transformer over bytes, to measure on what codes and cuts of KV caches cost: perplexity, not only an error.

    model = train(corpus(), Shape(), steps=200)
    perplexity(model, held_out)            # exp of the mean loss by byte

Its text is Python's own reference, which comes with the interpreter (`pydoc_data.topics`, PSF licence); the last tenth
is held out. Weights of a head are matrices of their own, so that one can be rotated and cut (`fold.py`). Positions are
learned vectors, or rotary embeddings. One thread works, which is faster for matrices this small, and so the same seed
gives the same weights, with the same version of torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from esa.errors import BadInput
from esa.kvcache.rotation import rotary

POSITIONS = ("learned", "rotary")
HELD_OUT = 0.1
BYTES = 128  # the text is ASCII
_RATE, _WARM = 3e-3, 20


@dataclass(frozen=True)
class Shape:
    """dim: of a head; window: tokens that see each other."""

    layers: int = 2
    heads: int = 2
    dim: int = 32
    window: int = 128
    positions: str = "learned"

    def __post_init__(self) -> None:
        if self.positions not in POSITIONS:
            raise BadInput(f"positions: unknown positions '{self.positions}'; allowed: {', '.join(POSITIONS)}")
        for name, least in (("layers", 1), ("heads", 1), ("dim", 2), ("window", 2)):
            if getattr(self, name) < least:
                raise BadInput(f"{name}: {getattr(self, name)}; allowed: from {least}")
        if self.dim % 2:
            raise BadInput(f"dim: {self.dim}; allowed: even ones")

    @property
    def hidden(self) -> int:
        return self.heads * self.dim


@dataclass(frozen=True)
class Cut:
    """What attention has of a layer's heads: `key` channels of queries and keys, `value` of values; of keys that are
    `recent` tokens away or more `old_key` and `old_value`. None: all, and of no class.
    """

    key: int | None = None
    value: int | None = None
    recent: int | None = None
    old_key: int | None = None
    old_value: int | None = None


@dataclass(frozen=True)
class Layer:
    """query, key, value: (heads, hidden, dim); output: (heads, dim, hidden); up, down: of the feed-forward part."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    output: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    cut: Cut = Cut()

    def tensors(self) -> list[torch.Tensor]:
        return [self.query, self.key, self.value, self.output, self.up, self.down]


@dataclass(frozen=True)
class Model:
    """embedding: (BYTES, hidden), also of the output; places: (window, hidden), zeros where positions are rotary."""

    shape: Shape
    embedding: torch.Tensor
    places: torch.Tensor
    layers: tuple[Layer, ...]

    def tensors(self) -> list[torch.Tensor]:
        learned = [self.places] if self.shape.positions == "learned" else []
        return [self.embedding, *learned, *(each for layer in self.layers for each in layer.tensors())]

    def embed(self, tokens: torch.Tensor, first: int = 0) -> torch.Tensor:
        """(..., tokens) of bytes, the first one at that place: (..., tokens, hidden)."""
        return self.embedding[tokens] + self.places[first : first + tokens.shape[-1]]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return normal(hidden) @ self.embedding.T

    def heads_of(self, layer: Layer, hidden: torch.Tensor, first: int = 0) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values, (..., heads, tokens, dim), positions in them."""
        inner = normal(hidden).unsqueeze(-3)
        query, key, value = inner @ layer.query, inner @ layer.key, inner @ layer.value
        if self.shape.positions == "rotary":
            places = torch.arange(first, first + hidden.shape[-2], dtype=hidden.dtype)
            query, key = (_turned(each, places) for each in (query, key))
        return query, key, value

    def after(self, layer: Layer, hidden: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """What the layer makes of its attention's heads (..., heads, tokens, dim)."""
        hidden = hidden + (mixed @ layer.output).sum(-3)
        return hidden + functional.gelu(normal(hidden) @ layer.up) @ layer.down

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, tokens) of bytes: logits of the next ones, (batch, tokens, BYTES)."""
        hidden = self.embed(tokens)
        for layer in self.layers:
            hidden = self.after(layer, hidden, attention(self.shape, layer.cut, *self.heads_of(layer, hidden)))
        return self.logits(hidden)


def normal(hidden: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(hidden, hidden.shape[-1:])


def _turned(heads: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    flat = heads.reshape(-1, *heads.shape[-2:])
    return torch.stack([rotary(each, places) for each in flat]).reshape(heads.shape)


def attention(shape: Shape, cut: Cut, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(dim)) V, causal, of the channels that are kept."""
    tokens = query.shape[-2]
    away = torch.arange(tokens)[:, None] - torch.arange(tokens)
    scores = query[..., : cut.key] @ key[..., : cut.key].transpose(-2, -1)
    value = _kept(value, cut.value)
    old = None
    if cut.recent is not None:
        old = away >= cut.recent
        scores = torch.where(old, query[..., : cut.old_key] @ key[..., : cut.old_key].transpose(-2, -1), scores)
    weights = torch.softmax((scores / math.sqrt(shape.dim)).masked_fill(away < 0, -math.inf), -1)
    if old is None:
        return weights @ value
    return (weights * ~old) @ value + (weights * old) @ _kept(value, cut.old_value)


def _kept(value: torch.Tensor, keep: int | None) -> torch.Tensor:
    if keep is None:
        return value
    return functional.pad(value[..., :keep], (0, value.shape[-1] - min(keep, value.shape[-1])))


def corpus() -> torch.Tensor:
    """Python's reference as bytes, int64 (bytes,)."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
    return torch.tensor(list(text), dtype=torch.int64)


def split(text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is learned from, what is held out."""
    border = round(len(text) * (1 - HELD_OUT))
    return text[:border], text[border:]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works with one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def new_model(shape: Shape, seed: int = 1) -> Model:
    random = torch.Generator().manual_seed(seed)
    hidden = shape.hidden

    def drawn(*sizes: int, scale: float) -> torch.Tensor:
        return (torch.randn(*sizes, generator=random) * scale).requires_grad_()

    inner, across = hidden**-0.5, (shape.heads, hidden, shape.dim)
    layers = tuple(
        Layer(
            drawn(*across, scale=inner),
            drawn(*across, scale=inner),
            drawn(*across, scale=inner),
            drawn(shape.heads, shape.dim, hidden, scale=inner / (2 * shape.layers) ** 0.5),
            drawn(hidden, 4 * hidden, scale=inner),
            drawn(4 * hidden, hidden, scale=inner / 2 / (2 * shape.layers) ** 0.5),
        )
        for _ in range(shape.layers)
    )
    embedding = drawn(BYTES, hidden, scale=0.1)
    learned = shape.positions == "learned"
    places = drawn(shape.window, hidden, scale=0.1) if learned else torch.zeros(shape.window, hidden)
    return Model(shape, embedding, places, layers)


@one_thread()
def train(
    text: torch.Tensor,
    shape: Shape = Shape(),
    *,
    steps: int = 200,
    batch: int = 16,
    seed: int = 1,
    progress: Callable[[float], None] = lambda part: None,
) -> Model:
    """A model that has learned from the text but what `split` holds out. BadInput for too short a text, no steps."""
    seen, _ = split(text)
    if steps < 1 or batch < 1:
        raise BadInput(f"steps: {steps}, batch: {batch}; allowed: from 1")
    if len(seen) <= shape.window + 1:
        raise BadInput(f"text: {len(seen)} bytes to learn from; allowed: more than {shape.window + 1}")
    model = new_model(shape, seed)
    random = torch.Generator().manual_seed(seed + 1)
    optimiser = torch.optim.AdamW(model.tensors(), lr=_RATE, weight_decay=0.01)
    for step in range(steps):
        for group in optimiser.param_groups:
            rise = min(1.0, (step + 1) / _WARM)
            group["lr"] = _RATE * rise * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        starts = torch.randint(len(seen) - shape.window - 1, (batch, 1), generator=random)
        window = seen[starts + torch.arange(shape.window + 1)]
        optimiser.zero_grad()
        _loss(model, window).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        progress((step + 1) / steps)
    return settled(model)


def settled(model: Model) -> Model:
    """With weights that do not learn."""

    def still(layer: Layer) -> Layer:
        query, key, value, output, up, down = (each.detach() for each in layer.tensors())
        return Layer(query, key, value, output, up, down, layer.cut)

    return Model(
        model.shape, model.embedding.detach(), model.places.detach(), tuple(still(each) for each in model.layers)
    )


def _loss(model: Model, windows: torch.Tensor) -> torch.Tensor:
    logits = model.forward(windows[:, :-1])
    return functional.cross_entropy(logits.reshape(-1, BYTES), windows[:, 1:].reshape(-1))


def windows_of(text: torch.Tensor, length: int, count: int) -> torch.Tensor:
    """`count` windows of `length` + 1 bytes, evenly over the text: (count, length + 1). BadInput if it is shorter."""
    if len(text) < length + 1:
        raise BadInput(f"text: {len(text)} bytes; allowed: at least {length + 1}")
    starts = torch.linspace(0, len(text) - length - 1, count).long()
    return text[starts[:, None] + torch.arange(length + 1)]


@one_thread()
@torch.no_grad()
def perplexity(model: Model, text: torch.Tensor, *, windows: int = 32) -> float:
    """By byte, over windows of the text."""
    return math.exp(float(_loss(model, windows_of(text, model.shape.window, windows))))


def with_cuts(model: Model, cuts: Callable[[int], Cut]) -> Model:
    """The model with what each layer keeps."""
    return replace(model, layers=tuple(replace(each, cut=cuts(k)) for k, each in enumerate(model.layers)))
