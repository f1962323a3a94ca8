"""Times of whole OPT models on A100s, as LLMServe/DistServe (Apache-2.0) fitted them for its simulator.

    prompts: a + b * tokens + c * tokens^2, summed over the batch's prompts;   decodes: a + b * context + c * requests

Two lines for decodes, from 95 requests on the other one; they do not meet (6 % at no context), which is kept.
"""

from __future__ import annotations

from typing import NamedTuple

from esa.serving.batches import Shape

_LARGE = 95  # requests


class Fit(NamedTuple):
    """Milliseconds; (a, b, c) each."""

    prompts: tuple[float, float, float]
    few: tuple[float, float, float]
    many: tuple[float, float, float]

    def ms(self, shape: Shape) -> float:
        """Of a forward pass through all layers; with prompts and decodes, the larger constant and the rest of both."""
        fixed = varying = 0.0
        if shape.prefills:
            fixed, per_token, per_square = self.prompts
            varying += per_token * shape.prompts + per_square * (shape.squares + 2 * shape.cross)
        if shape.decodes:
            constant, per_token, per_request = self.few if shape.decodes < _LARGE else self.many
            fixed = max(fixed, constant)
            varying += per_token * shape.context + per_request * shape.decodes
        return fixed + varying


FITS = {
    ("opt-13b", 1): Fit(
        (18.1025, 0.101912, 7.12226e-6), (19.9347, 6.26936e-4, 0.038507), (7.16619, 5.798e-4, 0.158311)
    ),
    ("opt-13b", 2): Fit(
        (14.743, 0.0685772, 2.44957e-6), (13.2948, 3.41092e-4, 0.0629639), (10.6387, 3.11834e-4, 0.0856291)
    ),
    ("opt-13b", 4): Fit(
        (12.0623, 0.0380814, 5.22625e-7), (10.2562, 1.87867e-4, 0.0326927), (10.4835, 1.71209e-4, 0.0456665)
    ),
    ("opt-66b", 2): Fit((43.0588, 0.274229, 2.2478e-5), (48.288, 9.42434e-4, 0.12755), (28.7277, 4.74485e-4, 0.296178)),
    ("opt-66b", 4): Fit(
        (29.4416, 0.151352, 8.31745e-6), (30.7603, 4.51948e-4, 0.0632842), (27.4708, 4.04685e-4, 0.124807)
    ),
    ("opt-66b", 8): Fit(
        (25.4907, 0.106592, 3.39105e-6), (23.1551, 2.26915e-4, 0.0480064), (21.7177, 3.75809e-4, 0.0897861)
    ),
}
