"""What is seen of a live run: rows that it writes down, tables in the terminal, fragments in its captures."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from controller import Refused, Switch, keeper, looking
from controller.rows import HeldRow, read_rows
from esa.errors import BadInput
from esa.job import Job
from esa.report import life as words
from esa.report.live_memory import ROWS, live_memory
from esa.report.progress import JobProgress
from esa.report.reading import read_run
from esa.sim.fabric.addresses import encapsulation
from esa.switch.process.pcap import PcapWriter
from esa.wire import ENCAPSULATION_BYTES, HEADER, Flag, Kind, version_kind
from experiments.live import captured
from experiments.live.captured import recorded_life
from experiments.live.row_samples import RowSamples
from experiments.live.watch import RunWatch
from tests.controller.jobs import job_dict
from tests.report.folders import run_folder
from tests.report.test_command import HOSTILE
from tests.switches import running_switch

TWO_RACKS = """
name = "two"
[network]
racks = [1, 1, 1]
rate = "25 Mb/s"
[[jobs]]
name = "mlp"
model = "mlp"
workers = 2
iterations = 2
"""


def look(samples: RowSamples) -> None:
    """One look, and its end."""
    samples._next = 0.0
    samples.look()
    end(samples)


def end(samples: RowSamples) -> None:
    """Wait for the look that is under way."""
    assert samples._under_way is not None
    samples._under_way.exception(timeout=30)


def test_rows_are_written_down_and_read_again(tmp_path: Path) -> None:
    held = [[HeldRow(1, 7, 3, 40, 200, 2)], [HeldRow(0, 7, 3, 41, 100, 1), HeldRow(3, 9, 1, 2, 1, 1)]]
    read = {"s1": lambda rows: held.pop(0) if len(rows) == 4 else []}
    with RowSamples(tmp_path, read, 4, {7: "mlp"}, 0.0) as samples:
        samples.look()  # the first comes later
        look(samples)
        look(samples)
        samples.look()  # it is not time yet
        assert samples._under_way is None
    assert held == []
    memory = live_memory(tmp_path, ["cnn", "mlp"])
    assert memory is not None
    assert memory.switches == [("s1", 4)]
    assert [frame.tolist() for frame in memory.owner] == [[0, 2, 0, 0], [2, 0, 0, 255]]
    assert [frame.tolist() for frame in memory.priority] == [[0, 200, 0, 0], [100, 0, 0, 1]]
    assert memory.seq[1].tolist() == [41, 0, 0, 2]
    assert memory.rows_by_job() == {"cnn": [0, 0], "mlp": [1, 1]}


def test_a_switch_that_lets_no_rows_be_read_is_asked_once(tmp_path: Path) -> None:
    asked = []

    def refuse(rows: object) -> list[HeldRow]:
        asked.append(rows)
        raise Refused("refused", code="UNIMPLEMENTED", address="127.0.0.1:9559")

    with RowSamples(tmp_path, {"s1": refuse}, 4, {7: "mlp"}, 0.0) as samples:
        look(samples)
        for _ in range(3):
            samples._next = 0.0
            samples.look()
    assert len(asked) == 1
    assert live_memory(tmp_path, ["mlp"]) is None


def test_what_ends_a_look_is_raised_by_the_next(tmp_path: Path) -> None:
    with RowSamples(tmp_path / "absent", {"s1": lambda _: []}, 4, {7: "mlp"}, 0.0) as samples:
        look(samples)
        with pytest.raises(FileNotFoundError):
            samples.look()


def test_a_look_holds_nobody_up_and_may_lose_its_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look waits until it is let go on; all else that a run asks for goes on, then the switch is killed under it."""
    asked, go_on = 0, threading.Event()

    def read(switch: Switch, rows: Sequence[int]) -> list[HeldRow]:
        nonlocal asked
        asked += 1
        assert go_on.wait(30)
        return read_rows(switch, rows)

    monkeypatch.setattr(keeper, "read_rows", read)
    monkeypatch.setattr(looking, "LOOK_S", 3600.0)  # the test looks
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running_switch("embedded"))
        kept = keeper.Keeper("s1", lambda wait_s: Switch.connect(first.address, wait_s=wait_s), 64)
        samples = stack.enter_context(RowSamples(tmp_path, {"s1": kept.read_rows}, 16, {7: "mlp"}, 0.0))
        stack.callback(kept.close)
        kept.start()
        samples._next = 0.0
        counted = 0
        for _ in range(100):
            samples.look()
            counted += len(kept.read_counters([1]))
        assert (counted, asked) == (100, 1)
        first.process.kill()
        first.process.wait()
        go_on.set()
        end(samples)
        assert asked == 1
        kept.look()
        look(samples)  # it is away
        assert asked == 1
        second = stack.enter_context(running_switch("embedded"))
        kept._connect = lambda: Switch.connect(second.address)
        kept.look()
        look(samples)
        assert (kept.restorations, asked) == (1, 2)
        go_on.clear()
        samples._next = 0.0
        samples.look()
        samples.look()
        kept.close()  # as at a run's end, with a look under way
        go_on.set()
    memory = live_memory(tmp_path, ["mlp"])
    assert memory is not None
    assert len(memory.times_s) == 1


def test_nonsense_among_the_rows_is_left_out(tmp_path: Path) -> None:
    lines = [
        {"switches": {"s1": 2}},
        {"t": 1.0, "s1": {"row": [0, 99, "x"], "job": ["mlp", "mlp", "mlp"], "seq": [1, 2, 3], "priority": [5, 6, 7]}},
        {"t": "never", "s1": {}},
        {"t": 2.0, "s1": [1, 2]},
        {"t": 0.5, "s1": {}},
    ]
    (tmp_path / ROWS).write_text("".join(json.dumps(line) + "\n" for line in lines) + "{cut o")
    memory = live_memory(tmp_path, ["mlp"])
    assert memory is not None
    assert memory.times_s == [1.0, 2.0]
    assert memory.owner[0].tolist() == [1, 0]


def test_how_far_a_job_is_follows_its_slowest_rank() -> None:
    progress = JobProgress(planned=10, submit_s=100.0)
    assert JobProgress(10, None).told(101.0) is None
    for number in range(5):
        for rank in range(2 if number < 4 else 1):
            at = 101.0 + number + rank / 10
            progress.add({"rank": rank, "t": at, "fragments": 100 * (number + 1), "via_ps": 25 * (number + 1)})
    told = progress.told(105.5)
    assert told is not None
    assert (told.done, told.rate, told.so_far_s, told.by_ps) == (4, pytest.approx(1.0), 5.5, 0.25)
    assert told.expected_s == pytest.approx(4.1 + 6)


def test_the_tables_of_a_run(tmp_path: Path) -> None:
    console = Console(width=110, force_terminal=False, record=True)
    watch = RunWatch(console, {"mlp": 70, HOSTILE[2]: 3})
    watch.see(lambda: {"bitmap": 3, "kind": 0}, {"h1": "lo", "h2": "no-such-interface"})
    watch.submitted("mlp")
    assert watch._jobs["mlp"].submit_s is not None
    for number in range(3):
        at = watch._jobs["mlp"].submit_s + 1 + number
        watch.record("mlp", {"rank": 0, "t": at, "loss": 1.5, "fragments": 100, "via_ps": 10})
    watch.counted({"mlp": {"completed": 1234, "preemptions": 5}})
    watch.occupancy({"mlp": 24}, 32)
    watch._next_show = 0.0
    watch._show_if_due()
    text = console.export_text()
    assert "3/70" in text
    assert "90.0%" in text
    assert "1,234" in text
    assert "denied, of jobs and none: bitmap 3" in text
    assert "rows, of 32" in text
    assert "▆" in text
    assert "h1" in text
    assert "h2" not in text
    assert "\x1b" not in text


def packet(job: dict[str, object], kind: Kind, source: int, seq: int, bits: int) -> bytes:
    """From worker `source`, or from its PS to workers."""
    told = Job.model_validate(job)
    header = np.zeros(1, HEADER)
    header["version_kind"], header["job"], header["seq"] = version_kind(kind), told.job, seq
    header["epoch"], header["bitmap0"], header["priority"] = 5, bits, 77
    sender, to = (told.workers[source], told.server) if kind == Kind.GRADIENT else (told.server, told.workers[source])
    return encapsulation(sender, to, 0) + header.tobytes()


def test_a_fragment_in_captures_of_two_racks_and_a_spine(tmp_path: Path) -> None:
    """Each switch is told apart; a packet on its way from switch to switch is no new one."""
    racks = [{"switch_ip": f"10.1.0.{k + 1}", "workers": 1} for k in range(2)]
    job = job_dict(name="mlp") | {"racks": racks, "switch_ip": "10.1.0.4"}
    told = Job.model_validate(job)
    folder = run_folder(tmp_path / "run")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "mlp.job.json").write_text(json.dumps(job))
    (folder / "scenario.toml").write_text(TWO_RACKS)
    (folder / "pcaps").mkdir()
    ports, switches = captured._ports(read_run(folder))
    assert set(switches.values()) == {"rack-0", "rack-1", "rack-2", "spine-0"}
    number = {}  # of a port, by its switch and what is behind it
    for port, (switch, of_host) in sorted(ports.items()):
        number.setdefault((switch, of_host), port)
    spine = [port for port, (switch, _) in ports.items() if switch == "spine-0"]
    address = {name: ip for ip, name in switches.items()}

    def gradient(rank: int, flags: Flag, source: int | None = None) -> bytes:
        octets = bytearray(packet(job, Kind.GRADIENT, rank, 9, 1))
        octets[ENCAPSULATION_BYTES + 1] = flags
        octets[ENCAPSULATION_BYTES + 20 : ENCAPSULATION_BYTES + 24] = (1 << rank).to_bytes(4, "big")
        if source is not None:
            octets[26:30] = source.to_bytes(4, "big")
        return bytes(octets)

    result = [packet(job, Kind.RESULT, rank, 9, 1) for rank in range(2)]
    at = [(f"p{number[f'rack-{rank}', True]}_in", 1 + rank, gradient(rank, Flag(0))) for rank in range(2)]
    for rank in range(2):
        octets = gradient(rank, Flag.LEVEL1, address[f"rack-{rank}"])
        at += [(f"p{number[f'rack-{rank}', False]}_out", 3 + rank, octets), (f"p{spine[rank]}_in", 5 + rank, octets)]
    for rank in range(2):
        at += [(f"p{spine[rank]}_out", 7, result[rank]), (f"p{number[f'rack-{rank}', False]}_in", 8, result[rank])]
        at += [(f"p{number[f'rack-{rank}', True]}_out", 9, result[rank])]
    files = {f"esa77{name}": PcapWriter(folder / "pcaps" / f"esa77{name}.pcap") for name in {one[0] for one in at}}
    for name, ms, octets in sorted(at, key=lambda one: one[1]):
        files[f"esa77{name}"].write(1_000_000 * ms, octets)
    for file in files.values():
        file.close()
    life = recorded_life(read_run(folder), told.name, 9)
    assert life.lanes == ["rank 0", "rank 1", *switches.values(), "PS"]
    assert [(event.at, event.what) for event in life.in_order()] == [
        ("rank 0", words.SENT),
        ("rack-0", words.COMPLETED),
        ("rank 1", words.SENT),
        ("rack-1", words.COMPLETED),
        ("spine-0", words.ADDED),
        ("spine-0", words.COMPLETED),
        ("rank 0", words.RECEIVED),
        ("rank 1", words.RECEIVED),
    ]
    assert "the sum of rack-0" in next(event.text for event in life.events if event.at == "spine-0")


def test_a_fragment_in_captures(tmp_path: Path) -> None:
    job = job_dict(name="mlp")
    folder = run_folder(tmp_path / "run")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "mlp.job.json").write_text(json.dumps(job))
    with pytest.raises(BadInput, match="packets were not captured"):
        recorded_life(read_run(folder), "mlp", 9)
    (folder / "pcaps").mkdir()
    files = {name: PcapWriter(folder / "pcaps" / f"{name}.pcap") for name in ("p1_in", "p2_in", "p1_out", "p2_out")}
    files["p1_in"].write(1_000_000, packet(job, Kind.GRADIENT, 0, 9, 1))
    files["p1_in"].write(1_500_000, packet(job, Kind.GRADIENT, 0, 10, 1))
    files["p2_in"].write(3_000_000, packet(job, Kind.GRADIENT, 1, 9, 2))
    files["p1_out"].write(4_000_000, packet(job, Kind.RESULT, 0, 9, 3))
    files["p2_out"].write(4_000_000, packet(job, Kind.RESULT, 1, 9, 3))
    for file in files.values():
        file.close()
    (folder / "pcaps" / "odd.pcap").write_bytes(b"no capture")
    life = recorded_life(read_run(folder), "mlp", 9)
    assert [(event.at, event.what) for event in life.in_order()] == [
        ("rank 0", words.SENT),
        ("switch", words.ADDED),
        ("rank 1", words.SENT),
        ("switch", words.COMPLETED),
        ("rank 0", words.RECEIVED),
        ("rank 1", words.RECEIVED),
    ]
    assert [round(1e3 * event.t_s, 3) for event in life.in_order()] == [0.0, 0.0, 2.0, 2.0, 3.0, 3.0]
    with pytest.raises(BadInput, match="no packet of it is in the captures"):
        recorded_life(read_run(folder), "mlp", 11)
