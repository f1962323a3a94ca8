"""Mean JCT against workers per job. A collision costs its PS one packet per worker in place of one."""

from experiments.studies.figures.lines import jct_against

FIGURE = jct_against(
    "jct_workers",
    "Mean JCT against workers per job",
    "workers per job",
    lambda effort: effort.choose((2, 4, 8, 16, 32), (2, 4, 8)),
    lambda workers: {"workers": workers},
)
