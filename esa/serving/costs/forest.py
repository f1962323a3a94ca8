"""Random forests through Vidur's profiles, as the tool has them, trained beforehand: `token_forest.csv`.

    python -m esa.serving.costs.forest FOLDER      # with compute/ as in Vidur's data/profiling

For each (GPU, model, degree) a forest of the sum of a layer's token-level operators by tokens, at every multiple of 8
to 4,096: nothing is trained when requests are served, and scikit-learn is not needed then. One seed, one thread; trees,
depth and least split are of Vidur's grid, not searched in it again. A forest is constant between the points that it
was trained on, and knows nothing beyond them; the lines of `token_operators.csv` are nearer to what was measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from esa.serving.costs.make_tables import DEGREES, GPUS, PROFILED, layer_ms, write_table

TREES, DEPTH, LEAST_SPLIT, SEED = 250, 16, 2, 1
TOKENS = range(8, 4097, 8)


def forest_ms(points: Mapping[int, float], at: Sequence[int]) -> list[float]:
    """Milliseconds at so many tokens, by a forest through the points; the same for the same points."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        n_estimators=TREES, max_depth=DEPTH, min_samples_split=LEAST_SPLIT, random_state=SEED, n_jobs=1
    )
    tokens = sorted(points)
    forest.fit([[one] for one in tokens], [points[one] for one in tokens])
    return [float(ms) for ms in forest.predict([[one] for one in at])]


def _rows(folder: Path) -> Iterable[Sequence[object]]:
    for gpu in GPUS:
        for model, name in PROFILED.items():
            found = layer_ms(folder / "compute" / gpu / name / "mlp.csv")
            by_degree = [
                forest_ms({tokens: ms for (of, tokens), ms in found.items() if of == degree}, TOKENS)
                for degree in DEGREES
            ]
            for tokens, *ms in zip(TOKENS, *by_degree, strict=True):
                yield gpu, model, tokens, *(f"{one:.4g}" for one in ms)


def main(folder: Path) -> None:
    write_table("token_forest.csv", ("gpu", "model", "tokens", *(f"tp{degree}" for degree in DEGREES)), _rows(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
