"""Mean JCT against the share of communication-heavy jobs. Those that compute most of the time leave rows to others."""

from experiments.studies.figures.lines import jct_against

FIGURE = jct_against(
    "jct_mix",
    "Mean JCT against the share of communication-heavy jobs",
    "communication-heavy jobs, of 8",
    lambda effort: effort.choose((0, 2, 4, 6, 8), (0, 4, 8)),
    lambda heavy: {"heavy": heavy, "light": 8 - heavy},
    logarithmic=False,
)
