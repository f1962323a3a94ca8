"""The best of a grid of two controls under a limit on latency, by branch and bound or by looking at everything.

    best = branch_and_bound(evaluate, columns=64, rows=32, limit=11.5)

Throughput and latency both grow with either control: the paper's condition. Where they do so only to within `slack`
(parts of the limit and of the best throughput), the search looks that much further, as the paper's does. A block is
known by its corners; of one that is a single point the corner is all there is, and it is not split: the paper does not
say. Points are asked for once. What another grid has come to is `least`: here counts only what is better.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from esa.errors import BadInput

Evaluate = Callable[[int, int], tuple[float, float]]  # (column, row) -> (throughput, latency)


class Best(NamedTuple):
    """None where no point is within the limit. evaluations: points that were asked for."""

    point: tuple[int, int] | None
    throughput: float
    latency: float
    evaluations: int


class _Grid:
    def __init__(self, evaluate: Evaluate, limit: float, least: float) -> None:
        self._evaluate = evaluate
        self._known: dict[tuple[int, int], tuple[float, float]] = {}
        self._limit = limit
        self.least = least
        self.best: tuple[float, float, tuple[int, int]] | None = None

    def at(self, column: int, row: int) -> tuple[float, float]:
        point = column, row
        if point not in self._known:
            throughput, latency = self._known[point] = self._evaluate(column, row)
            if latency < self._limit and (throughput > self.least or (self.best is None and not self.least)):
                self.best = throughput, latency, point
                self.least = throughput
        return self._known[point]

    def found(self) -> Best:
        if self.best is None:
            return Best(None, 0.0, float("inf"), len(self._known))
        throughput, latency, point = self.best
        return Best(point, throughput, latency, len(self._known))


def _check(columns: int, rows: int) -> None:
    if columns < 1 or rows < 1:
        raise BadInput(f"grid: {columns} x {rows}; allowed: from 1 x 1")


def exhaustive(evaluate: Evaluate, columns: int, rows: int, limit: float, *, least: float = 0.0) -> Best:
    """Look at every point."""
    _check(columns, rows)
    grid = _Grid(evaluate, limit, least)
    for column in range(columns):
        for row in range(rows):
            grid.at(column, row)
    return grid.found()


def branch_and_bound(
    evaluate: Evaluate, columns: int, rows: int, limit: float, *, slack: float = 0.0, least: float = 0.0
) -> Best:
    """Look at blocks whose upper corner is better than the best so far and whose lower one is within the limit."""
    _check(columns, rows)
    if not 0 <= slack < 1:
        raise BadInput(f"slack: {slack:g}; allowed: from 0, below 1")
    grid = _Grid(evaluate, limit, least)
    allowed = limit * (1 + slack)
    blocks: list[tuple[float, tuple[int, int, int, int]]] = []

    def add(left: int, bottom: int, right: int, top: int) -> None:
        throughput, latency = grid.at(left, bottom)
        if latency >= allowed:
            return
        upper, last = grid.at(right, top)
        if last < limit and not slack:
            return  # nothing in the block is better than this corner, which has been seen
        if upper * (1 + slack) > grid.least:
            heapq.heappush(blocks, (-throughput, (left, bottom, right, top)))

    add(0, 0, columns - 1, rows - 1)
    while blocks:
        _, (left, bottom, right, top) = heapq.heappop(blocks)
        if grid.least and grid.at(right, top)[0] * (1 + slack) <= grid.least:
            continue
        width, height = right - left, top - bottom
        if width <= 1 and height <= 1:
            for column in {left, right}:
                for row in {bottom, top}:
                    grid.at(column, row)
            continue
        across = _across(grid, (left, bottom, right, top), limit)
        if across and width:
            middle = (left + right) // 2
            add(left, bottom, middle, top)
            add(middle + 1, bottom, right, top)
        else:
            middle = (bottom + top) // 2
            add(left, bottom, right, middle)
            add(left, middle + 1, right, top)
    return grid.found()


def _across(grid: _Grid, block: tuple[int, int, int, int], limit: float) -> bool:
    """Whether to cut the block's columns in two: where the corner of few columns and many rows is the better one within
    the limit; if neither is, the longer side.
    """
    left, bottom, right, top = block
    if right == left or top == bottom:
        return right > left
    tall, wide = grid.at(left, top), grid.at(right, bottom)
    fits = tall[1] < limit, wide[1] < limit
    if not any(fits):
        return right - left >= top - bottom
    return fits[0] and (not fits[1] or tall[0] > wide[0])
