"""Mean JCT against switch memory. Memory is what ESA schedules: with enough of it there is nothing to schedule."""

from experiments.studies.figures.lines import jct_against

FIGURE = jct_against(
    "jct_memory",
    "Mean JCT against switch memory",
    "aggregators that the jobs share (rows)",
    lambda effort: effort.choose((64, 128, 256, 512, 1024, 2048, 4096, 8192), (128, 512, 2048, 8192)),
    lambda rows: {"rows": rows},
    claimed=True,  # `bound` is made of it
)
