"""Folders of results as tests need them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from esa.report import JobSummary, Summary


def summary(policy: str = "esa", jct_s: float = 10.0, seed: int = 1, switch: str = "embedded", **more: Any) -> Summary:
    job = {"workers": 2, "wait_s": 0.0, "bound_s": 8.0, "iterations": 2, "fragments": 100, "resends": 3, "via_ps": 4}
    jobs = [JobSummary(name=name, jct_s=jct_s, **job) for name in more.pop("names", ("mlp", "cnn"))]
    given = {"switch_counters": {"mlp": {"collisions": 17, "evicted": 5}}, "occupancy_mean": 0.125, **more}
    return Summary(
        scenario=given.pop("scenario", "small"), policy=policy, switch=switch, topology="single-rack", seed=seed,
        jobs=jobs, makespan_s=jct_s, **given,
    ).with_means()  # fmt: skip


def run_folder(folder: Path, told: Summary | None = None, records: list[dict[str, Any]] | None = None) -> Path:
    told = told or summary()
    folder.mkdir(parents=True)
    told.save(folder)
    live = [
        {"event": "submit", "job": "mlp", "t": 1.0},
        *({"event": "occupancy", "t": 1 + t / 4, "rows": {"mlp": t, "cnn": 1}} for t in range(8)),
        *(
            {"event": "iteration", "job": "mlp", "rank": rank, "t": 2.0 + k, "iteration": k, "loss": 2.5 - k,
             "seconds": 1.0}
            for k in range(2) for rank in range(2)
        ),
        {"event": "end", "job": "mlp", "rank": 0, "t": 4.0, "end": 3.9},
    ]  # fmt: skip
    virtual = [
        {"event": "job", "name": "mlp", "submit_s": 0.0, "start_s": 0.5, "jct_s": told.jobs[0].jct_s},
        *(
            {"event": "sample", "t_s": t / 10, "taken": 2 * t, "useful": t, "ps_bytes": 1000 * t, "queue_max": t,
             "queue_mean": 0.5, "running": 1} for t in range(4)
        ),
    ]  # fmt: skip
    chosen = records if records is not None else virtual if told.switch == "virtual" else live
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in chosen))
    (folder / "scenario.toml").write_text(f'name = "{told.scenario}"\nseed = {told.seed}\n[[jobs]]\nname = "mlp"\n')
    return folder


def sweep_folder(folder: Path, seeds: int = 3, planned: int | None = None) -> Path:
    folder.mkdir(parents=True)
    lines, number = [], 0
    for rows in (64, 128):
        for policy, factor in (("esa", 1.0), ("atp", 1.5)):
            for seed in range(1, seeds + 1):
                told = summary(policy, factor * (1 + seed / 10) * 64 / rows, seed, "virtual")
                axes = {"aggregators": rows, "policy": policy}
                lines.append({"event": "point", "point": number, "axes": axes, "seed": seed, "summary": told.as_dict()})
                number += 1
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    state = {"name": "memory", "points": planned or number, "finished": number}
    (folder / "sweep.json").write_text(json.dumps(state))
    return folder


def figure_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "memory.csv").write_text("rows,policy,jct_ms,jct_ms_low,jct_ms_high\n64,esa,1.5,1.4,1.6\n64,atp,2,,\n")
    (folder / "memory.points.csv").write_text("rows,policy\n64,esa\n")
    return folder
