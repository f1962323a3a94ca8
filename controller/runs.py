"""Epochs: the numbers of a job's runs, each given once.

The switch keeps them: an entry per job with its newest epoch, which stays when the job goes. So a controller that comes
later, or another one at the same time, knows what was given. An epoch is taken by an INSERT, which only one can win;
whoever finds a newer one beside its own, taken meanwhile, takes another. Older entries are deleted once a newer one is
there, so a job's entries are never all gone.

The first epoch on a switch is drawn at random from the lower half of the numbers: a switch that has just lost its
memory would otherwise repeat the epochs of runs whose packets or members may still be about.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable

from controller.client import Switch
from esa.entries.job_entries import RUN, Entry, run_entry
from esa.errors import AlreadyExists, Refused
from esa.job import MAX_EPOCH

FIRST_EPOCHS = MAX_EPOCH // 2  # that a job may start with on a switch that knows nothing of it
UNSEEN_EPOCHS = 64  # skipped when a lost memory is put back: what was given after it was last read
_ATTEMPTS = 64  # against others who draw for the same job at the same time


def epochs(switch: Switch, job: int) -> list[int]:
    """Return the epochs of a job that the switch remembers; the newest is the last."""
    return sorted(epoch for number, epoch in (entry.match for entry in switch.read_entries([RUN])) if number == job)


def draw_epoch(switch: Switch, job: int) -> int:
    """Take an epoch that this switch has never seen for the job. Refused when a job has used up all of them."""
    for _ in range(_ATTEMPTS):
        known = epochs(switch, job)
        epoch = known[-1] + 1 if known else 1 + secrets.randbelow(FIRST_EPOCHS)
        if epoch > MAX_EPOCH:
            raise Refused(
                f"job: {job} has used all its {MAX_EPOCH} epochs on the switch at {switch.address}:"
                " give it another number, or load the program anew (esactl load)"
            )
        try:
            switch.insert([run_entry(job, epoch)])
        except AlreadyExists:
            continue
        known = epochs(switch, job)
        if known[-1] == epoch:
            with contextlib.suppress(Refused):  # another may have deleted them meanwhile
                switch.delete([run_entry(job, old) for old in known[:-1]])
            return epoch
    raise Refused(f"job: {job}: other controllers start it all the time on the switch at {switch.address}")


def know_epoch(switch: Switch, job: int, epoch: int) -> None:
    """Let a switch that lost its memory know an epoch that is in use, so that none is given twice."""
    with contextlib.suppress(AlreadyExists):
        switch.insert([run_entry(job, epoch)])


def is_newest(switch: Switch, job: int, epoch: int) -> bool:
    """Return whether no other run of the job was started since."""
    return epochs(switch, job)[-1:] == [epoch]


def put_back(remembered: Iterable[Entry]) -> list[Entry]:
    """Return what to tell a switch that lost its memory, given the entries that it held when it was last read.

    Epochs may have been given since, to members that still use them. So of each job some are counted as given, too.
    """
    runs = {entry.match for entry in remembered}
    skipped = {(job, min(epoch + UNSEEN_EPOCHS, MAX_EPOCH)) for job, epoch in runs}
    return [run_entry(job, epoch) for job, epoch in sorted(runs | skipped)]
