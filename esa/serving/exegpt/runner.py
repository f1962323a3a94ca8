"""XRunner: round-robin allocation (RRA) with lengths drawn, phase by phase, and batches that are adjusted meanwhile.

    found = run_rra(encode_s, decode_s, batch=52, iterations=13, prompts=..., outputs=..., phases=500)

There are always queries that wait, in a fixed order. An encoding takes the next ones; with `adjust` so many that their
tokens are what `batch` mean prompts have: one fewer, or one more, as long as that is beyond the threshold. Who is over
leaves at once, so iterations get shorter within a phase. Nothing is moved or copied when somebody leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from esa.errors import BadInput


@dataclass(frozen=True)
class Run:
    """By phase: seconds of the encoding, queries encoded, queries that decode right after. By query that is over, in
    that order: output tokens and latency, from when its encoding begins. adjusted: phases with another batch.
    """

    encode_s: tuple[float, ...]
    encoded: tuple[int, ...]
    pools: tuple[int, ...]
    over: tuple[tuple[int, float], ...]
    seconds: float
    adjusted: int

    @property
    def throughput(self) -> float:
        return len(self.over) / self.seconds


def run_rra(
    encode_s: Callable[[int], float],
    decode_s: Callable[[int], float],
    *,
    batch: int,
    iterations: int,
    prompts: Sequence[int],
    outputs: Sequence[int],
    adjust: float | None = None,
) -> Run:
    """Until no whole batch waits. encode_s: of so many prompt tokens; decode_s: of an iteration of so many queries.

    adjust: part of the expected tokens that an encoding may be off; None: batches are as they are.
    BadInput for fewer queries than a batch, or controls that cannot be.
    """
    if iterations < 1:
        raise BadInput(f"batch {batch}, iterations {iterations}; allowed: from 1")
    check_queries(batch, prompts, outputs, adjust)
    expected = batch * sum(prompts) / len(prompts)
    now = 0.0
    taken = adjusted = 0
    running: list[tuple[int, int, float]] = []  # tokens left, tokens, since when
    encodes: list[float] = []
    sizes: list[int] = []
    pools: list[int] = []
    over: list[tuple[int, float]] = []
    while True:
        count = batch if adjust is None else fitting(prompts, taken, batch, expected, adjust)
        if taken + count > len(prompts):
            break
        adjusted += count != batch
        took = encode_s(sum(prompts[taken : taken + count]))
        encodes.append(took)
        sizes.append(count)
        running += [(tokens, tokens, now) for tokens in outputs[taken : taken + count]]
        taken += count
        now += took
        pools.append(len(running))
        for _ in range(iterations):
            now += decode_s(len(running))
            still = []
            for left, tokens, since in running:
                if left == 1:
                    over.append((tokens, now - since))
                else:
                    still.append((left - 1, tokens, since))
            running = still
    return Run(tuple(encodes), tuple(sizes), tuple(pools), tuple(over), now, adjusted)


def check_queries(batch: int, prompts: Sequence[int], outputs: Sequence[int], adjust: float | None) -> None:
    """BadInput for fewer queries than a batch, or a threshold that cannot be."""
    if batch < 1 or (adjust is not None and adjust < 0):
        raise BadInput(f"batch {batch}, adjust {adjust}; allowed: from 1 and 0")
    if len(prompts) != len(outputs) or len(prompts) < batch or min(outputs) < 1:
        raise BadInput(
            f"{len(prompts)} prompts, {len(outputs)} outputs; allowed: as many, {batch} or more, from 1 token"
        )


def fitting(prompts: Sequence[int], first: int, batch: int, expected: float, adjust: float) -> int:
    """How many of the next queries have tokens within the threshold; as near to `batch` as can be."""
    count = batch
    tokens = sum(prompts[first : first + count])
    while count > 1 and tokens > expected * (1 + adjust):
        count -= 1
        tokens -= prompts[first + count]
    while first + count < len(prompts) and tokens + prompts[first + count] <= expected * (1 + adjust):
        if tokens >= expected * (1 - adjust):
            break
        tokens += prompts[first + count]
        count += 1
    return count
