"""XRunner: workload-aware allocation (WAA) with lengths drawn; encoders and decoders each at their own pace.

    found = run_waa(encode_s, decode_s, batch=4, prompts=..., outputs=..., most=200, handover_s=0.03)

There are always queries that wait, in a fixed order. Encoders take batch after batch, as long as there is room for it
with the decoders; keys and values are there `handover_s` later, beside the next encoding. An iteration has who was
there when it began, and who is over leaves at once. With `adjust` batches are as of `runner.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from esa.errors import BadInput
from esa.serving.exegpt.runner import check_queries, fitting


@dataclass(frozen=True)
class WaaRun:
    """encode_s: of each encoding; pools: queries of each iteration; over: by query, in that order, output tokens and
    latency, from when its encoding begins; waited_s: encoders, for room; adjusted: encodings with another batch.
    """

    encode_s: tuple[float, ...]
    pools: tuple[int, ...]
    over: tuple[tuple[int, float], ...]
    seconds: float
    waited_s: float
    adjusted: int

    @property
    def throughput(self) -> float:
        return len(self.over) / self.seconds


def run_waa(
    encode_s: Callable[[int], float],
    decode_s: Callable[[int], float],
    *,
    batch: int,
    prompts: Sequence[int],
    outputs: Sequence[int],
    most: float = float("inf"),
    handover_s: float = 0.0,
    adjust: float | None = None,
) -> WaaRun:
    """Until no whole batch waits. encode_s: of so many prompt tokens; decode_s: of an iteration of so many queries.

    most: queries that have room with the decoders, those whose encoding is under way included.
    BadInput for fewer queries than a batch, a batch that has no room, and what cannot be.
    """
    check_queries(batch, prompts, outputs, adjust)
    if most < batch or handover_s < 0:
        raise BadInput(f"most {most:g}, handover_s {handover_s:g}; allowed: from the batch's {batch}, from 0")
    expected = batch * sum(prompts) / len(prompts)
    now = free_s = waited = 0.0  # free_s: since when encoders are
    taken = inside = adjusted = 0
    encoding: tuple[float, list[tuple[int, int, float]]] | None = None  # until when; tokens left, tokens, since when
    handed: deque[tuple[float, list[tuple[int, int, float]]]] = deque()
    running: list[tuple[int, int, float]] = []
    iteration_end: float | None = None
    encodes: list[float] = []
    pools: list[int] = []
    over: list[tuple[int, float]] = []
    while True:
        if encoding is None:
            count = batch if adjust is None else min(int(most), fitting(prompts, taken, batch, expected, adjust))
            if taken + count > len(prompts):
                break
            if inside + count <= most:
                took = encode_s(sum(prompts[taken : taken + count]))
                encoding = now + took, [(tokens, tokens, now) for tokens in outputs[taken : taken + count]]
                encodes.append(took)
                waited += now - free_s
                adjusted += count != batch
                inside += count
                taken += count
        if iteration_end is None:
            while handed and handed[0][0] <= now:
                running += handed.popleft()[1]
            if running:
                pools.append(len(running))
                iteration_end = now + decode_s(len(running))
        ends = [iteration_end, encoding[0] if encoding else None, handed[0][0] if handed and not running else None]
        now = min(end for end in ends if end is not None)
        if encoding is not None and encoding[0] <= now:
            handed.append((now + handover_s, encoding[1]))
            encoding, free_s = None, now
        if iteration_end is not None and iteration_end <= now:
            over += [(tokens, now - since) for left, tokens, since in running if left == 1]
            still = [(left - 1, tokens, since) for left, tokens, since in running if left > 1]
            inside -= len(running) - len(still)
            running, iteration_end = still, None
    return WaaRun(tuple(encodes), tuple(pools), tuple(over), now, waited, adjusted)
