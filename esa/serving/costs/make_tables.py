"""Write the tables of this folder from Vidur's profiles (microsoft/vidur 7d47513 and, for A40, 6d98aa8; MIT).

    python -m esa.serving.costs.make_tables FOLDER      # with compute/ and network/ as in its data/profiling

`token_operators.csv`: milliseconds of a layer's token-level operators together, by (gpu, model, tokens) and degree of
tensor parallelism: the sum of the operators' medians, `add` once, without embedding. Every point of the profile to 1024
tokens and every second one beyond, where it is smooth; the points between are what tests hold the interpolation to.
`all_reduce.csv`, `send_recv.csv`: medians of a collective by (fabric, workers, workers per node, bytes); of the
profile's sizes those that are a power of two or 4 % above the one before.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
OPERATORS = (
    "input_layernorm",
    "attn_pre_proj",
    "attn_rope",
    "attn_post_proj",
    "post_attention_layernorm",
    "mlp_up_proj",
    "mlp_act",
    "mlp_down_proj",
    "add",
)
GPUS = ("a100", "h100", "a40")
PROFILED = {
    "llama-2-7b": "Llama-2-7b-hf",
    "codellama-34b": "CodeLlama-34b-Instruct-hf",
    "llama-2-70b": "Llama-2-70b-hf",
}
DEGREES = (1, 2, 4, 8)
FABRICS = {
    "a100-dgx": "a100_dgx",
    "a100-pairwise": "a100_pairwise_nvlink",
    "h100-dgx": "h100_dgx",
    "h100-pairwise": "h100_pairwise_nvlink",
    "a40": "a40-old",
}
_DENSE = 1024  # tokens, to which every point is kept
_STEP = 1.04


def layer_ms(path: Path) -> dict[tuple[int, int], float]:
    """By (degree, tokens): all token-level operators of a layer; the median where a point is there twice."""
    found = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            total = sum(float(row[f"time_stats.{name}.median"]) for name in OPERATORS)
            found[int(row["num_tensor_parallel_workers"]), int(row["num_tokens"])].append(total)
    return {point: statistics.median(values) for point, values in found.items()}


def collective_ms(path: Path, kind: str) -> dict[tuple[int, int], dict[int, float]]:
    """By (workers, workers per node), then bytes."""
    found: dict[tuple[int, int], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            group = int(row["num_workers"]), int(row["devices_per_node"])
            found[group][int(row["size"])].append(float(row[f"time_stats.{kind}.median"]))
    return {group: {size: statistics.median(ms) for size, ms in sizes.items()} for group, sizes in found.items()}


def kept_tokens(tokens: Iterable[int]) -> list[int]:
    ordered = sorted(set(tokens))
    dense = [count for count in ordered if count <= _DENSE]
    beyond = ordered[len(dense) :]
    return [*dense, *beyond[1::2]]  # with the last one, since their number is even


def kept_sizes(sizes: Iterable[int]) -> list[int]:
    kept: list[int] = []
    for size in sorted(sizes):
        if not kept or size >= kept[-1] * _STEP or size & (size - 1) == 0:
            kept.append(size)
    return kept


def write_table(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with (HERE / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _operators(folder: Path) -> Iterable[Sequence[object]]:
    for gpu in GPUS:
        for model, name in PROFILED.items():
            found = layer_ms(folder / "compute" / gpu / name / "mlp.csv")
            for tokens in kept_tokens(tokens for _, tokens in found):
                yield gpu, model, tokens, *(f"{found[degree, tokens]:.4g}" for degree in DEGREES)


def _collectives(folder: Path, kind: str) -> Iterable[Sequence[object]]:
    for fabric, name in FABRICS.items():
        path = folder / "network" / name / f"{kind}.csv"
        if not path.exists():  # A40's sends are not among the old files
            continue
        for (workers, per_node), sizes in sorted(collective_ms(path, kind).items()):
            for size in kept_sizes(sizes):
                yield fabric, workers, per_node, size, f"{sizes[size]:.4g}"


def main(folder: Path) -> None:
    head = ("gpu", "model", "tokens", *(f"tp{degree}" for degree in DEGREES))
    write_table("token_operators.csv", head, _operators(folder))
    for kind in ("all_reduce", "send_recv"):
        write_table(f"{kind}.csv", ("fabric", "workers", "per_node", "bytes", "ms"), _collectives(folder, kind))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
