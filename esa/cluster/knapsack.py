"""The multiple-choice knapsack: of every group at most one item, within a capacity, as much value as there can be.

    choose([[(1, 5.0), (2, 8.0)], [(4, 9.0)]], 5)     # [1, 1]: the first item of each group; 0 is none

`choose_in_two` knows two pools: groups that may draw on one of them alone, and groups that may draw on both.
Weights are whole, so the table over capacities is exact: O(capacity x items).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from esa.native import native

Group = Sequence[tuple[int, float]]  # items: (weight, value)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@native
def _fill(ends: Ints, weights: Ints, values: Floats, best: Floats, choices: npt.NDArray[np.int16]) -> None:
    """best (capacity + 1,): from all 0 to the most value within each capacity. choices (groups, capacity + 1)."""
    begin = 0
    for group in range(len(ends)):
        for room in range(len(best) - 1, -1, -1):  # downwards: what is less is still without this group
            most = best[room]
            for item in range(begin, ends[group]):
                if weights[item] <= room:
                    value = best[room - weights[item]] + values[item]
                    if value > most:
                        most = value
                        choices[group, room] = item - begin + 1
            best[room] = most
        begin = ends[group]


class _Table:
    """What can be had within every capacity up to one."""

    def __init__(self, groups: Sequence[Group], capacity: int) -> None:
        self._groups = groups
        capacity = min(capacity, sum(max((weight for weight, _ in group), default=0) for group in groups))
        self.best: Floats = np.zeros(capacity + 1)
        self._choices = np.zeros((len(groups), capacity + 1), np.int16)
        if groups and capacity:
            items = [item for group in groups for item in group]
            ends = np.cumsum([len(group) for group in groups], dtype=np.int64)
            weights = np.array([weight for weight, _ in items], np.int64)
            values = np.array([value for _, value in items], np.float64)
            _fill(ends, weights, values, self.best, self._choices)

    def within(self, capacity: int) -> list[int]:
        """The item of each group, from 1; 0 is none."""
        room = min(capacity, len(self.best) - 1)
        chosen = [0] * len(self._groups)
        for group in range(len(chosen) - 1, -1, -1):
            item = chosen[group] = int(self._choices[group, room])
            if item:
                room -= self._groups[group][item - 1][0]
        return chosen


def choose(groups: Sequence[Group], capacity: int) -> list[int]:
    """The item of each group, from 1; 0 is none. Weights from 1; a tie goes to the first found."""
    dear = dearest(groups)
    if _weight(groups, dear) <= capacity:
        return dear
    return _Table(groups, capacity).within(capacity)


def choose_in_two(one: Sequence[Group], both: Sequence[Group], first: int, second: int) -> tuple[list[int], list[int]]:
    """Items for groups that draw on the first pool alone, and for those that draw on both; pools of these sizes."""
    dear, dear_both = dearest(one), dearest(both)
    alone = _weight(one, dear)
    if alone <= first and alone + _weight(both, dear_both) <= first + second:
        return dear, dear_both
    table, table_both = _Table(one, first), _Table(both, first + second)
    most = len(table_both.best) - 1
    values = [table.best[part] + table_both.best[min(first + second - part, most)] for part in range(len(table.best))]
    part = int(np.argmax(values))
    return table.within(part), table_both.within(first + second - part)


def dearest(groups: Sequence[Group]) -> list[int]:
    """What each group would choose if it were alone."""
    chosen = []
    for group in groups:
        values = [0.0, *(value for _, value in group)]
        chosen.append(values.index(max(values)))
    return chosen


def _weight(groups: Sequence[Group], chosen: Sequence[int]) -> int:
    return sum(group[item - 1][0] for group, item in zip(groups, chosen, strict=True) if item)
