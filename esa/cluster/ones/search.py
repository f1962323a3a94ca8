"""A generation of the search: schedules are refreshed, crossed, mutated, padded, scored, chosen, and put in order.

A schedule is an array of cells, one for each GPU, host by host: who has it, as the row of `Jobs`, or NOBODY.
Its score, the smaller the better, is the GPU time that its jobs need still, by what was drawn of how far they are.
A schedule's score does not depend on which cells are whose, so those that are chosen are put in order, and no others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esa.cluster.ones.draws import CROSSOVER, MUTATION, PARENTS, uniform
from esa.native import native

Cells = npt.NDArray[np.int64]
NOBODY = -1


class Jobs(NamedTuple):
    """Who is there, by row, in the order of numbers: arrays of a length.

    number: what draws go by
    new:    to be given a GPU before anybody is scored
    scored: has been through the epochs that it takes to be scored, and to be taken out
    limit:  GPUs at most in this generation, 0 for new jobs; most: where GPUs are left over
    order:  rows of those that are scored, by ascending score
    work:   (jobs, GPUs + 1): GPU seconds left on so many GPUs; 0 where it is not scored
    """

    number: Cells
    new: npt.NDArray[np.bool_]
    scored: npt.NDArray[np.bool_]
    limit: Cells
    most: Cells
    order: Cells
    work: npt.NDArray[np.float64]


@native
def cut(row: Cells, limit: Cells, jobs: int, least: int) -> None:
    """Nobody has more than his limit, or `least`: what is beyond, in the order of cells, is free."""
    counts = np.zeros(jobs, np.int64)
    for cell in range(len(row)):
        who = row[cell]
        if who >= 0:
            counts[who] += 1
            if counts[who] > max(limit[who], least):
                row[cell] = NOBODY


@native
def cross(one: Cells, other: Cells, rate: float, key: np.uint64, pair: int) -> None:
    """Swap cells of two schedules, each at a rate."""
    for cell in range(len(one)):
        if uniform(key, CROSSOVER, pair, cell) < rate:
            one[cell], other[cell] = other[cell], one[cell]


@native
def mutate(row: Cells, jobs: Jobs, rate: float, key: np.uint64, candidate: int) -> None:
    """Take out whole jobs among those that are scored, each at a rate."""
    out = np.zeros(len(jobs.number), np.bool_)
    for who in range(len(jobs.number)):
        out[who] = jobs.scored[who] and uniform(key, MUTATION, candidate, jobs.number[who]) < rate
    for cell in range(len(row)):
        if row[cell] >= 0 and out[row[cell]]:
            row[cell] = NOBODY


@native
def pad(row: Cells, jobs: Jobs) -> None:
    """Fill free cells: new jobs have one each, then those that are scored up to their limits, then up to their most."""
    count = len(jobs.number)
    counts = np.zeros(count, np.int64)
    for cell in range(len(row)):
        if row[cell] >= 0:
            counts[row[cell]] += 1
    cell = 0
    for who in range(count):
        if jobs.new[who] and counts[who] == 0:
            while cell < len(row) and row[cell] >= 0:
                cell += 1
            if cell == len(row):
                return
            row[cell] = who
            counts[who] = 1
    for further in range(2):
        for who in jobs.order:
            wanted = jobs.most[who] if further else jobs.limit[who]
            while counts[who] < wanted:
                while cell < len(row) and row[cell] >= 0:
                    cell += 1
                if cell == len(row):
                    return
                row[cell] = who
                counts[who] += 1


@native
def score(row: Cells, jobs: Jobs) -> float:
    """GPU seconds left of all its jobs; infinite for a schedule of nobody, which would win otherwise."""
    counts = np.zeros(len(jobs.number), np.int64)
    anybody = False
    for cell in range(len(row)):
        if row[cell] >= 0:
            counts[row[cell]] += 1
            anybody = True
    if not anybody:
        return math.inf
    left = 0.0
    for who in range(len(counts)):
        if counts[who] and jobs.scored[who]:
            left += jobs.work[who, counts[who]]
    return left


@native
def put_in_order(row: Cells, in_force: Cells, jobs: int, free_moves: bool) -> None:
    """Each job's cells in one piece, free cells between them as may be, so that few GPUs change hands.

    A piece costs the cells in it that are another job's now; free ones cost nothing, or, without `free_moves`, the less
    than that the more of them a job that has GPUs already would move to. Of the sequences that fill so
    many cells with so many jobs one of the cheapest is kept, and no other: a rule of thumb, not the optimum. A
    sequence that leaves more cells free than there are in the end is none, so that there is always one left.
    """
    cells = len(row)
    counts = np.zeros(jobs, np.int64)
    spare = 0
    for cell in range(cells):
        if row[cell] >= 0:
            counts[row[cell]] += 1
        else:
            spare += 1
    there = np.nonzero(counts)[0]
    many = len(there)
    taken = np.zeros(cells + 1, np.int64)  # cells before that somebody has now
    for cell in range(cells):
        taken[cell + 1] = taken[cell] + (in_force[cell] >= 0)
    own = np.zeros((many, cells + 1), np.int64)  # of these, one's own
    for k in range(many):
        for cell in range(cells):
            own[k, cell + 1] = own[k, cell] + (in_force[cell] == there[k])
    scale = 1 if free_moves else cells + 1
    words = (many + 63) // 64
    best = np.full((cells + 1, many + 1), -1, np.int64)
    last = np.empty((cells + 1, many + 1), np.int64)
    free = np.zeros((cells + 1, many + 1), np.int64)
    placed = np.zeros((cells + 1, many + 1, words), np.uint64)
    best[0, 0] = 0
    for used in range(cells):
        for before in range(min(used, many) + 1):
            cost = best[used, before]
            if cost < 0:
                continue
            if free[used, before] < spare and (best[used + 1, before] < 0 or cost <= best[used + 1, before]):
                best[used + 1, before] = cost
                last[used + 1, before] = NOBODY
                free[used + 1, before] = free[used, before] + 1
                for word in range(words):
                    placed[used + 1, before, word] = placed[used, before, word]
            for k in range(many if before < many else 0):
                bit = np.uint64(1) << np.uint64(k & 63)
                if placed[used, before, k >> 6] & bit:
                    continue
                end = used + counts[there[k]]
                kept = own[k, end] - own[k, used]
                with_it = cost + scale * (taken[end] - taken[used] - kept)
                if not free_moves and own[k, cells]:
                    with_it += counts[there[k]] - kept
                if best[end, before + 1] < 0 or with_it < best[end, before + 1]:
                    best[end, before + 1] = with_it
                    last[end, before + 1] = k
                    free[end, before + 1] = free[used, before]
                    for word in range(words):
                        placed[end, before + 1, word] = placed[used, before, word]
                    placed[end, before + 1, k >> 6] |= bit
    row[:] = NOBODY
    end, before = cells, many
    while end:
        k = last[end, before]
        if k == NOBODY:
            end -= 1
            continue
        start = end - counts[there[k]]
        row[start:end] = there[k]
        end, before = start, before - 1


@native
def generation(
    population: Cells, in_force: Cells, jobs: Jobs, crossover: float, mutation: float, free_moves: bool, key: np.uint64
) -> Cells:
    """The next population, the best first. population: (schedules, cells), NOBODY where somebody is no more."""
    kept, cells = population.shape
    count = len(jobs.number)
    crossed = 2 * (kept // 2)
    candidates = np.empty((2 * kept + crossed, cells), np.int64)
    candidates[:kept] = population
    for k in range(kept):
        cut(candidates[k], jobs.limit, count, 1)
    for pair in range(kept // 2):
        first = int(uniform(key, PARENTS, pair, 0) * kept)
        second = int(uniform(key, PARENTS, pair, 1) * (kept - 1))
        second += second >= first
        one, other = candidates[kept + 2 * pair], candidates[kept + 2 * pair + 1]
        one[:], other[:] = candidates[first], candidates[second]
        cross(one, other, crossover, key, pair)
        cut(one, jobs.limit, count, 0)
        cut(other, jobs.limit, count, 0)
    for k in range(kept):
        mutant = candidates[kept + crossed + k]
        mutant[:] = candidates[k]
        mutate(mutant, jobs, mutation, key, k)
    scores = np.empty(len(candidates))
    for k in range(len(candidates)):
        pad(candidates[k], jobs)
        scores[k] = score(candidates[k], jobs)
    chosen = np.argsort(scores, kind="mergesort")[:kept]
    following = np.empty((kept, cells), np.int64)
    for k in range(kept):
        following[k] = candidates[chosen[k]]
        put_in_order(following[k], in_force, count, free_moves)
    return following
