"""Mean JCT against the number of jobs. The more jobs share the rows, the likelier two fragments want the same one."""

from experiments.studies.figures.lines import jct_against

FIGURE = jct_against(
    "jct_jobs",
    "Mean JCT against the number of jobs",
    "jobs, half of them communication-heavy",
    lambda effort: effort.choose((2, 4, 8, 16, 32), (2, 8, 16)),
    lambda jobs: {"heavy": jobs // 2, "light": jobs // 2},
)
