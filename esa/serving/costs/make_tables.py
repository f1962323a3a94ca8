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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from esa.errors import BadInput

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


def _numbers(path: Path, columns: Sequence[str]) -> Iterator[tuple[float, ...]]:
    """Of each row. BadInput for a column that is not there, and by line for what is no number."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = next((name for name in columns if name not in (reader.fieldnames or ())), None)
        if missing is not None:
            raise BadInput(f"{path}: line 1: no column {missing}; allowed: all of {', '.join(columns)}")
        for number, row in enumerate(reader, start=2):
            try:
                yield tuple(float(row[name]) for name in columns)
            except (TypeError, ValueError):
                wrong = next(name for name in columns if not _is_number(row[name]))
                raise BadInput(f"{path}: line {number}, column {wrong}: '{row[wrong]}'; allowed: a number") from None


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def layer_ms(path: Path) -> dict[tuple[int, int], float]:
    """By (degree, tokens): all token-level operators of a layer; the median where a point is there twice. BadInput."""
    found = defaultdict(list)
    timed = [f"time_stats.{name}.median" for name in OPERATORS]
    for degree, tokens, *ms in _numbers(path, ("num_tensor_parallel_workers", "num_tokens", *timed)):
        found[int(degree), int(tokens)].append(sum(ms))
    return {point: statistics.median(values) for point, values in found.items()}


def collective_ms(path: Path, kind: str) -> dict[tuple[int, int], dict[int, float]]:
    """By (workers, workers per node), then bytes. BadInput."""
    found: dict[tuple[int, int], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    columns = ("num_workers", "devices_per_node", "size", f"time_stats.{kind}.median")
    for workers, per_node, size, ms in _numbers(path, columns):
        found[int(workers), int(per_node)][int(size)].append(ms)
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
