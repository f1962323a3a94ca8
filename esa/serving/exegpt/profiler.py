"""XProfiler: what one layer takes, encoding and decoding, by degree of tensor parallelism; the step before the search.

    profile = measured_profile("opt-13b", "a40", degrees=(1, 2, 4))     # by this project's iteration times
    profile = read_profile(path)                                        # by somebody's own GPUs
    profile.encode_s(tp, queries, length), profile.decode_s(tp, queries, context), profile.send_s(tokens)

A point is a batch of equal queries; between points times are bilinear. Sums over a group are part of a layer's time. A
file has the columns `kind` (encode, decode, send), `tp`, `queries`, `length` (tokens of a prompt, or of context) and
`ms`; of `send`, which is of all activations from a stage to the next, `queries` is the number of tokens, `length` and
`tp` are 1. Beyond the points a question is refused, not extrapolated; fewer than a query or a token take what one does.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from esa.errors import BadInput
from esa.serving.batches import Shape, decode_shape
from esa.serving.costs.stages import FABRIC_OF, stage_times
from esa.serving.models import HALF, model_of
from esa.serving.network import ALL_REDUCE, Group, TablePort

COLUMNS = ("kind", "tp", "queries", "length", "ms")
KINDS = ("encode", "decode", "send")
QUERIES = tuple(2**power for power in range(13))
LENGTHS = (1, 16, 32, 64, 128, 256, 512, 1024, 2048)
MOST_TOKENS = 2**20  # of an encoding in a profile


class Grid(NamedTuple):
    """Milliseconds by queries (rows) and length (columns), both ascending; None beyond what was timed."""

    what: str
    queries: tuple[int, ...]
    lengths: tuple[int, ...]
    ms: tuple[tuple[float | None, ...], ...]

    def at(self, queries: float, length: float) -> float:
        """BadInput beyond the points."""
        row, down = self._place(self.queries, queries, "queries")
        column, right = self._place(self.lengths, length, "tokens")
        found = 0.0
        for i, part in ((row, 1 - down), (row + 1, down)):
            for j, share in ((column, 1 - right), (column + 1, right)):
                if part * share:
                    value = self.ms[i][j]
                    if value is None:
                        raise BadInput(
                            f"profile: {self.what} of {queries:g} queries with {length:g} tokens was not timed; "
                            "allowed: what is between its points"
                        )
                    found += part * share * value
        return found

    def _place(self, points: tuple[int, ...], value: float, unit: str) -> tuple[int, float]:
        """The point at or before, and how far from it to the next."""
        if value > points[-1]:
            raise BadInput(f"profile: {self.what} of {value:g} {unit}; allowed: up to {points[-1]}")
        if value <= points[0]:
            return 0, 0.0
        at = bisect_right(points, value) - 1
        if at == len(points) - 1:
            return at, 0.0
        return at, (value - points[at]) / (points[at + 1] - points[at])


class Profile(NamedTuple):
    """Of a layer. grids: by kind and degree."""

    grids: Mapping[tuple[str, int], Grid]

    @property
    def degrees(self) -> tuple[int, ...]:
        """Of tensor parallelism that both encoding and decoding were timed with."""
        return tuple(sorted(tp for kind, tp in self.grids if kind == "encode" and ("decode", tp) in self.grids))

    @property
    def most_decodes(self) -> int:
        """Queries of an iteration that were timed with every degree."""
        return min(self.grids["decode", tp].queries[-1] for tp in self.degrees)

    def encode_s(self, tp: int, queries: float, length: float) -> float:
        """Of prompts of so many tokens each."""
        return self._grid("encode", tp).at(queries, length) / 1e3

    def decode_s(self, tp: int, queries: float, context: float) -> float:
        """Of an iteration; context: tokens of each."""
        return self._grid("decode", tp).at(queries, context) / 1e3

    def send_s(self, tokens: float) -> float:
        """From a stage to the next."""
        return self._grid("send", 1).at(tokens, 1) / 1e3

    def _grid(self, kind: str, tp: int) -> Grid:
        if (kind, tp) not in self.grids:
            raise BadInput(f"profile: nothing of {kind} with tp {tp}; allowed: tp {', '.join(map(str, self.degrees))}")
        return self.grids[kind, tp]

    def text(self) -> str:
        """As a file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (kind, tp), grid in self.grids.items():
            for queries, row in zip(grid.queries, grid.ms, strict=True):
                for length, ms in zip(grid.lengths, row, strict=True):
                    if ms is not None:
                        writer.writerow((kind, tp, queries, length, repr(ms)))
        return text.getvalue()


def measured_profile(model: str, gpu: str, degrees: Sequence[int], *, per_host: int = 8) -> Profile:
    """By `esa.serving.costs`: a profile of model and GPU where there is one, else a roofline. BadInput as from there.

    A message takes what a sum over two GPUs does, which sends as many bytes each way: not every fabric's were measured.
    """
    layers = model_of(model).layers
    found: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
    for tp in degrees:
        times = stage_times(model, gpu, tp, 1, per_host=per_host)
        encode, decode = found.setdefault(("encode", tp), {}), found.setdefault(("decode", tp), {})
        for queries in QUERIES:
            for length in LENGTHS:
                tokens = queries * length
                if tokens <= MOST_TOKENS:
                    shape = Shape(tokens, 0, 0, queries, tokens, tokens * length)
                    encode[queries, length] = times.stage_ns(shape) / layers / 1e6
                decode[queries, length] = times.stage_ns(decode_shape(queries, tokens)) / layers / 1e6
    port, pair = TablePort(FABRIC_OF[gpu]), Group(2, min(2, per_host))
    each = model_of(model).hidden * HALF
    sizes = [2**power for power in range(21)]
    found["send", 1] = {(tokens, 1): port.collective(pair, ALL_REDUCE, tokens * each) / 1e6 for tokens in sizes}
    return _profile(found)


def read_profile(path: Path) -> Profile:
    """BadInput names the file and line of what is wrong."""
    try:
        rows = [*csv.reader(path.read_text().splitlines())]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"profile: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise BadInput(f"{path}: line 1: {','.join(rows[0]) if rows else 'nothing'}; allowed: {','.join(COLUMNS)}")
    found: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            kind, (tp, queries, length), ms = row[0], map(int, row[1:4]), float(row[4])
        except (ValueError, IndexError):
            raise BadInput(f"{path}: line {number}: {','.join(row)}; allowed: {','.join(COLUMNS)}") from None
        if kind not in KINDS or len(row) != len(COLUMNS) or min(tp, queries, length) < 1 or not 0 < ms < float("inf"):
            allowed = f"{', '.join(KINDS)}, from 1, times above 0"
            raise BadInput(f"{path}: line {number}: {','.join(row)}; allowed: {allowed}")
        points = found.setdefault((kind, tp), {})
        if (queries, length) in points:
            raise BadInput(f"{path}: line {number}: {','.join(row[:4])} for the second time; allowed: once")
        points[queries, length] = ms
    profile = _profile(found)
    if not profile.degrees or ("send", 1) not in found:
        kinds = ", ".join(sorted({kind for kind, _ in found})) or "none"
        raise BadInput(f"{path}: kinds: {kinds}; allowed: all of {', '.join(KINDS)}")
    return profile


def _profile(found: Mapping[tuple[str, int], Mapping[tuple[int, int], float]]) -> Profile:
    grids = {}
    for (kind, tp), points in found.items():
        queries, lengths = (tuple(sorted({point[axis] for point in points})) for axis in (0, 1))
        ms = tuple(tuple(points.get((one, other)) for other in lengths) for one in queries)
        grids[kind, tp] = Grid(f"{kind} with tp {tp}", queries, lengths, ms)
    return Profile(grids)
