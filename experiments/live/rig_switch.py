"""What a rig's switch and supervisor hold: whether all that should is there, and nothing else."""

from __future__ import annotations

import re

from controller import Controller, Switch, SwitchError
from esa.job import Pool
from experiments.live.loop_ranks import LoopJob
from experiments.live.rig import Rig

LEFT_OVER_LIMIT_S = 10.0


def left_over(rig: Rig) -> list[str]:
    """What no job of the switch owns; a controller that is at work is waited for."""
    left: list[str] = []

    def nothing() -> bool:
        with rig.controller() as controller:
            left[:] = controller.leftovers()
        return not left

    rig.ranks.until(nothing, LEFT_OVER_LIMIT_S)
    return left


def epochs_begun(rig: Rig) -> list[tuple[str, int]]:
    """(job, epoch) of the runs that supervisors say they began."""
    log = rig.folder / "supervisor.log"
    said = log.read_text() if log.exists() else ""
    return [(name, int(epoch)) for name, epoch in re.findall(r"job (\S+): a run begins, epoch (\d+)", said)]


def rows_held(rig: Rig) -> int:
    """Rows of the switch's memory that hold something (embedded switch)."""
    node = rig.net.switch
    with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
        return sum(bitmap != 0 for bitmap in switch.read_registers("row_bitmap"))


def is_whole(rig: Rig) -> bool:
    """Whether the switch has every job, complete."""
    node = rig.net.switch
    try:
        with Switch.connect(node.grpc_address, node.device_id) as switch:
            held = {job.job: job.problems for job in Controller(switch).jobs()}
    except SwitchError:
        return False
    return all(held.get(job.job) == () for job in rig.jobs.values())


def sweep(rig: Rig, rows: int) -> int:
    """Let a last job pass over rows 0..rows-1, which takes what others left there; returns the rows held then."""
    node = rig.net.switch
    hosts = next(hosts for hosts in rig.hosts.values() if len(hosts) > 2)
    spec = LoopJob("sweeper", "esa", values=rows * rig.lanes, pool=Pool(base=0, size=rows), ttl_us=1, window=rows)
    rig.hosts[spec.name] = [*hosts[:2], hosts[-1]]
    rig.kill_supervisor()
    with Switch.connect(node.grpc_address, node.device_id, wait_s=10) as switch:
        controller = Controller(switch)
        for old in controller.jobs():
            controller.remove_job(old.job)
        for name in list(rig.servers):
            rig.kill_server(name)
        controller.add_job(rig.add(spec, 1000))
        rig.ranks.forget()
        rig.coordinate()
        rig.start_server(spec.name)
        rig.start_workers(spec)
        rig.start()
        if rig.stop(limit_s=60):
            return -1
        return max(rows_held(rig), controller.occupancy().total)
