"""Jobs as long under Tiresias as those of ONES' artefact were in its file of results, as far as that says who they are.

    jobs = ones_jobs(applications, 50, 30, seed=1, kinds=PUBLISHED, in_turn=True)
    simulate_cluster(POLLUX_CLUSTER, jobs, SCHEDULERS["tiresias"], OnesTimes(PUBLISHED))

Files: kurisusnowdeng/ones_sc21 at 8535358, out/*_profile.csv, seconds of 50 jobs by number. In all four of them the
logarithms of execution times correlate at a distance of twenty jobs, by 0.75 to 0.86. Of the rows of traces/trace_1.csv
two in thirty are then the same, while traces/trace_dev.csv has twenty rows: those are taken, in their order, again and
again. Their first fifteen rank as the same rows of the history of runs (`ones_trace.py`) do, by 0.91 or 0.92 in each
file; the last five, with the fewer data, do not. So a job has the samples of its row there, and takes the mean of its
row in Tiresias' file on the GPUs that it asks for, START_S of a start included. The last two rows take nine times as
long there as in the history, or more: they are as much faster than in the history as the others are in the median, and
train on instead.

Two figures are fitted, to the other schedulers' files and not to ONES': at MEAN_INTERVAL_S between arrivals Tiresias'
jobs wait as long as in its file, and where a ring takes SLOWER times as long beside computing as in the history, but at
most MOST_SENDING of an iteration on the GPUs that are asked for, Optimus has the mean JCT of its file.
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from esa.laboratory.inputs.ones_trace import KINDS, OnesKind

START_S = 10.0  # taken
MEAN_INTERVAL_S = 45.0
SLOWER = 2.0
MOST_SENDING = 0.95


class Row(NamedTuple):
    """Of traces/trace_dev.csv: whose kind and which of its two lengths. seconds: of execution under Tiresias."""

    kind: str
    longer: bool
    seconds: float


ROWS = (
    Row("bert-cola", True, 158),
    Row("bert-mrpc", True, 112),
    Row("bert-sst2", True, 128),
    Row("resnet18-cifar", True, 67),
    Row("vgg16-cifar", True, 163),
    Row("googlenet-cifar", True, 107),
    Row("alexnet", True, 112),
    Row("resnet50", True, 220),
    Row("vgg16", True, 173),
    Row("inception", True, 402),
    Row("bert-cola", False, 108),
    Row("bert-mrpc", False, 98),
    Row("bert-sst2", False, 84),
    Row("resnet18-cifar", False, 72),
    Row("vgg16-cifar", False, 162),
    Row("googlenet-cifar", False, 129),
    Row("alexnet", False, 178),
    Row("resnet50", False, 256),
    Row("vgg16", False, 1036),
    Row("inception", False, 5292),
)
TRAINING_ON = 2  # of the last rows


def _kinds() -> tuple[OnesKind, ...]:
    by_name = {kind.name: kind for kind in KINDS}
    of = [by_name[row.kind] for row in ROWS]
    lengths = [kind.lengths[row.longer] for kind, row in zip(of, ROWS, strict=True)]
    ran_s = [row.seconds - START_S for row in ROWS]
    faster = [samples / kind.rate / each for (_, samples), kind, each in zip(lengths, of, ran_s, strict=True)]
    faster[-TRAINING_ON:] = [median(faster[:-TRAINING_ON])] * TRAINING_ON
    found = []
    for number, (kind, (epoch_samples, _), each_s, by) in enumerate(zip(of, lengths, ran_s, faster, strict=True)):
        sending = kind.sum_s(kind.gpus) * kind.rate / (kind.batch * kind.gpus)  # of an iteration
        slower = min(SLOWER, MOST_SENDING / sending)
        found.append(
            kind._replace(
                name=f"{kind.name}-{number}",
                lengths=((epoch_samples, round(each_s * kind.rate * by)),),
                rate=kind.rate * by,
                ring_bps=kind.ring_bps * by / slower,
            )
        )
    return tuple(found)


PUBLISHED = _kinds()
