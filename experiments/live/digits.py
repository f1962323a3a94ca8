"""The data of live runs: the handwritten digits that ship inside scikit-learn, split by the run for all its workers.

scikit-learn takes longer to import than PyTorch, so only the run does, while its workers start.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HELD_OUT = 0.25  # of the 1,797 digits


def save_digits(file: Path, seed: int) -> None:
    """Split the digits; the same seed gives the same split everywhere.

    The .npz file has train_images, test_images (n, 8, 8, 1) float32 in 0..1 and train_labels, test_labels (n,) int64.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target.astype(np.int64), test_size=HELD_OUT, random_state=seed, stratify=digits.target
    )
    np.savez_compressed(file, train_images=train_x, train_labels=train_y, test_images=test_x, test_labels=test_y)
