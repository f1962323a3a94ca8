"""What is found out of a run beyond what it has written down: for the dashboard, and `esa explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from esa.dashboard.folders import Deeper
from esa.errors import BadInput
from esa.report.life import Life
from esa.report.live_memory import live_memory
from esa.report.memory import Memory
from esa.report.plain import plain
from esa.report.reading import ReadRun
from esa.report.records import VIRTUAL

OTHER_VERSION = "the run does not come out as it is kept: this is its scenario as this version runs it"

Progress = Callable[[float], None]


def memory_of(run: ReadRun, progress: Progress) -> Memory:
    """What was in the rows over time: of a run in virtual time it is simulated once more. BadInput."""
    if run.summary.switch != VIRTUAL:
        live = live_memory(run.folder, [job.name for job in run.summary.jobs])
        if live is None:
            why = "the run is older, none of its jobs uses rows, or its switch lets none be read (BMv2)"
            raise BadInput(f"what was in the rows is not recorded: {why}")
        return live
    from experiments.virtual.memory import virtual_memory
    from experiments.virtual.trace import scenario_of

    memory, same = virtual_memory(run, scenario_of(run), progress)
    memory.note = "" if same else OTHER_VERSION
    return memory


def life_of(run: ReadRun, job: str, seq: int, progress: Progress) -> Life:
    """What happened to one fragment; job: by name, empty: the only one. BadInput."""
    names = [one.name for one in run.summary.jobs]
    if not job and len(names) == 1:
        job = names[0]
    if job not in names:
        raise BadInput(plain(f"job: '{job}'; allowed: {', '.join(names)}", 400))
    if run.summary.switch != VIRTUAL:
        from experiments.live.captured import recorded_life

        return recorded_life(run, job, seq)
    from experiments.virtual.fragment import fragment_life
    from experiments.virtual.trace import scenario_of

    return fragment_life(run, scenario_of(run), job, seq, progress)


def _life_data(run: ReadRun, job: str, seq: int, progress: Progress) -> dict[str, Any]:
    return life_of(run, job, seq, progress).as_data()


DEEPER = Deeper(memory_of, _life_data)
