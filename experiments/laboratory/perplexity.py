"""What codes and cuts of KV caches cost a small model that was trained here: `esa perplexity`.

rows = measure(train(corpus()), corpus(), windows=4)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from esa.errors import BadInput
from esa.exits import interruptible
from esa.kvcache.cache import BlockCache, PaperCache
from esa.kvcache.decoding import Dense, HeadCache, decode
from esa.kvcache.folding import by_energy, folded, kept_part
from esa.kvcache.fused import Fused
from esa.kvcache.keep import least_energy
from esa.kvcache.model import Model, Shape, corpus, one_thread, perplexity, split, train, windows_of
from experiments.common.csv_text import csv_text
from experiments.common.folders import give_to_caller, make_folder, write_whole
from experiments.common.part_progress import PartProgress

STEPS, WINDOWS, PROMPT, PART = 300, 4, 40, 32
ENERGIES = (0.99, 0.95, 0.9, 0.8)
FACTOR, RECENT = 0.5, 32  # of the keys that are so far away
MOST_ADDED = 0.1  # perplexity, that ZeroC's published bound allows
SAMPLES = 16  # windows that rotations are learned from


class Row(NamedTuple):
    """error: of logits, a part of their norm; kept: of the 16-bit bytes of a cache, or of channels."""

    method: str
    perplexity: float
    error: float | None
    kept: float


def measure(
    model: Model, text: torch.Tensor, windows: int, progress: Callable[[float], None] = lambda part: None
) -> list[Row]:
    """HACK decoding token by token, ZeroC over whole windows; both on held-out text."""
    seen, held = split(text)
    rows = []
    caches: dict[str, Callable[[int], HeadCache]] = {
        "16 bits": Dense,
        f"HACK, its code's layout, {PART}": lambda dim: Fused(BlockCache(dim, PART)),
        f"HACK, the paper's layout, {PART}": lambda dim: Fused(PaperCache(dim, PART)),
    }
    chosen = windows_of(held, model.shape.window, windows)
    for number, (name, cache) in enumerate(caches.items()):
        found = decode(model, chosen, cache, prompt=PROMPT)
        dense = 4.0 * model.shape.layers * model.shape.hidden
        rows.append(Row(name, found.perplexity, found.error, found.octets / dense))
        progress((number + 1) / (len(caches) + 1))
    rows.append(Row("whole windows, 32 bits", perplexity(model, held), None, 1.0))
    turned, singular = folded(model, windows_of(seen, model.shape.window, SAMPLES)[:, :-1])
    rows.append(Row("ZeroC, folded, all channels", perplexity(turned, held), _apart(turned, model, chosen), 1.0))
    if model.shape.positions == "learned":
        curve = {1.0: rows[-1].perplexity}
        for energy in ENERGIES:
            cut = by_energy(turned, singular, energy)
            curve[energy] = perplexity(cut, held)
            rows.append(Row(f"ZeroC, energy {energy:g}", curve[energy], _apart(cut, model, chosen), kept_part(cut)))
        least = least_energy(ENERGIES, curve.__getitem__, MOST_ADDED)
        cut = by_energy(turned, singular, least)
        rows.append(Row(f"ZeroC, least energy within +{MOST_ADDED:g}: {least:g}", curve[least], None, kept_part(cut)))
        old = by_energy(turned, singular, least, recent=RECENT, factor=FACTOR)
        name = f"ZeroC, energy {least:g}, {FACTOR:g} of it from {RECENT} tokens away"
        rows.append(Row(name, perplexity(old, held), _apart(old, model, chosen), kept_part(old)))
    progress(1.0)
    return rows


@one_thread()
@torch.no_grad()
def _apart(one: Model, other: Model, windows: torch.Tensor) -> float:
    """Logits' error, as a part of their norm."""
    mine, theirs = (each.forward(windows[:, :-1]) for each in (one, other))
    return float((mine - theirs).norm() / theirs.norm())


def print_perplexity(positions: str, steps: int, windows: int, seed: int, results: Path, console: Console) -> list[Row]:
    """Train, measure, print and keep. BadInput before anything runs."""
    if not 1 <= steps <= 100_000 or not 1 <= windows <= 1000:
        raise BadInput(f"steps: {steps}, windows: {windows}; allowed: 1 to 100000, 1 to 1000")
    shape = Shape(positions=positions)
    folder = make_folder(results / "perplexity")
    text = corpus()
    with interruptible("nothing is kept"), PartProgress(console, f"perplexity: {positions} positions") as shown:
        model = train(text, shape, steps=steps, seed=seed, progress=lambda part: shown.part(0.5 * part))
        rows = measure(model, text, windows, lambda part: shown.part(0.5 + 0.5 * part))
    path = folder / f"{positions}.csv"
    write_whole(path, csv_text(Row._fields, rows))
    give_to_caller(folder)
    title = f"{shape.layers} layers of {shape.heads} heads of {shape.dim}, {positions} positions, {steps} steps"
    table = Table(box=box.SIMPLE_HEAD, title=f"{title}: by byte of Python's reference, held out")
    for name in ("cache", "perplexity", "logits' error", "kept"):
        table.add_column(name, justify="left" if name == "cache" else "right")
    for row in rows:
        error = "-" if row.error is None else f"{row.error:.2e}"
        table.add_row(row.method, f"{row.perplexity:.3f}", error, f"{row.kept:.1%}")
    console.print(table)
    console.print(f"every row: {path}", highlight=False, soft_wrap=True)
    return rows
