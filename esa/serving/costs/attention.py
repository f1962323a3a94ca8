"""What attention takes, by lines fitted to the one profile of it that is at hand.

Vidur's old profile of an A100 (microsoft/vidur e2d00e9; 32 query and 4 key heads of 128 on a GPU): a decode step is the
time to read keys and values, a chunk of a prompt a polynomial in its length c and what is before it k. Mean errors
over it are 9.8 % (decode, above 20 MB) and 5.7 % (prompts); `tests/serving` has them.
Other models scale with their query heads (prompts) and bytes (decode), other GPUs with peak and bandwidth: guesses.
"""

from __future__ import annotations

from esa.serving.batches import Shape
from esa.serving.models import GPUS, HALF, Gpu, Llm

_DECODE_MS, _DECODE_GBS = 0.0214, 1641.0
_PROMPT_MS, _LINEAR, _SQUARE, _CROSS = 0.01453, 6.75e-5, 1.198e-7, 1.134e-7
_SIZE = 32 * 128  # of the profile's query heads on a GPU
_MORE = 1.1  # grouped queries and more than one request, as Vidur has it


def attention_ms(model: Llm, gpu: Gpu, tp: int, shape: Shape) -> float:
    """Of one layer, on each GPU."""
    total = 0.0
    if shape.decodes:
        octets = 2 * HALF * model.head_size * model.kv_heads_at(tp) * shape.context
        gbs = _DECODE_GBS * gpu.bandwidth_gbs / GPUS["a100"].bandwidth_gbs
        step = _DECODE_MS + octets / gbs / 1e6
        total += step * (_MORE if model.grouped and shape.decodes > 1 else 1.0)
    if shape.prefills:
        pace = model.heads / tp * model.head_size / _SIZE * GPUS["a100"].tflops / gpu.tflops
        size = _LINEAR * shape.prompts + _SQUARE * shape.squares + _CROSS * shape.cross
        total += (_PROMPT_MS + pace * size) * (_MORE if model.grouped and shape.prefills > 1 else 1.0)
    return total
