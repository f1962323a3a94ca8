"""The bench as a whole: its rows, its parts, and that what it sends through a switch is counted."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from esa import wire
from esa.errors import BadInput
from esa.job import Pool
from esa.net import message_batch, open_udp_socket, poll_set
from esa.scapy_layer import ESA
from esa.torch.timeline import BucketTimes
from esa.transport import SumTimes
from experiments.studies.bench import counting, frames, gradients, measure, trainer, training
from experiments.studies.bench.allreduce import Setting, limit
from experiments.studies.bench.forwarder import FORWARDER, turn_round
from experiments.studies.bench.gradients import Sweep
from experiments.studies.bench.ranks import Rack
from experiments.studies.bench.row import Figure, Point, number, row


def test_a_row_has_the_median_beside_the_least_and_most_and_the_ratio_of_medians() -> None:
    made = row("rate", "a second", [3.0, 1.0, 8.0], "other", [2.0, 1.5, 9.0])
    assert (made.figure, made.other_figure) == (Figure(3.0, 1.0, 8.0, 3), Figure(2.0, 1.5, 9.0, 3))
    assert made.ratio == 1.5
    assert str(made.figure) == "3.00 (1.00 to 8.00)"
    assert row("alone", "s", 2.0).ratio is None
    assert row("beside nothing", "s", 2.0, "other", 0.0).ratio is None


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (0.5, "0.50"), (12.34, "12.3"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits_or_all_before_the_point(value: float, text: str) -> None:
    assert number(value) == text


def test_what_passes_without_loss_ends_where_loss_begins() -> None:
    def point(offered: float, lost: int) -> Point:
        return Point(offered, offered - lost, lost, 1.0)

    paced = (point(10, 0), point(30, 2), point(40, 0))
    assert Sweep(point(20, 0), paced, point(50, 9)).clean_per_s == 20
    assert Sweep(point(5, 1), paced, point(50, 9)).clean_per_s == 0


@pytest.mark.parametrize("lanes", wire.LANE_COUNTS)
def test_frames_are_the_gradients_of_all_workers(lanes: int) -> None:
    run = frames.job(lanes, number=3, pool=Pool(base=0, size=8), window=8).run(epoch=7)
    made = frames.gradients(run, 5)
    assert made.shape == (frames.WORKERS, 5, wire.packet_bytes(lanes))
    for rank, worker in enumerate(run.workers):
        for seq in range(5):
            packet = Ether(made[rank, seq].tobytes())
            esa = packet[ESA]
            assert (packet.src, packet["IP"].src, packet["UDP"].sport) == (worker.mac, str(worker.ip), worker.udp_port)
            assert (esa.job, esa.epoch, esa.seq, esa.bitmap0) == (3, 7, seq, 1 << rank)
            assert esa.index == wire.aggregator_index(3, 7, seq)
            assert len(esa.lanes) == lanes
    assert lanes == 0 or len(np.unique(made[:, :, -4:], axis=1)) > 1


@pytest.mark.parametrize("kind", ["embedded", FORWARDER])
def test_every_gradient_is_counted_as_passed_or_lost(kind: str, root: None) -> None:
    (sweep,) = gradients.sweep(kind, 64, seconds=0.1, steps=(0.2,), repeats=1)
    for point in sweep.points:
        assert 0 < point.passed_per_s <= point.offered_per_s
        assert point.lost >= 0
        assert point.cpu_us >= 0
    assert sweep.slow.offered_per_s <= gradients.SLOW


def test_a_packet_that_is_turned_round_is_a_whole_one_to_who_sent_it() -> None:
    sent = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2")
    sent = Ether(bytes(sent / UDP(sport=31781, dport=31780) / b"payload"))
    batch = message_batch(2, 128, peers=False)
    for i in range(2):
        batch.data[i, : len(sent)] = np.frombuffer(bytes(sent), np.uint8)
        batch.length[i] = len(sent)
    turn_round(batch, 1)
    came = Ether(bytes(batch.data[0, : len(sent)]))
    assert (came.src, came.dst, came[IP].src, came[IP].dst) == (sent.dst, sent.src, "10.0.0.2", "10.0.0.1")
    assert (came[UDP].sport, came[UDP].dport, came[UDP].payload) == (31780, 31781, sent[UDP].payload)
    for layer in (IP, UDP):  # what checksums would be is what they are
        again = Ether(bytes(came))
        del again[layer].chksum
        assert bytes(again) == bytes(came)
    assert bytes(batch.data[1, : len(sent)]) == bytes(sent)


def test_packets_without_an_answer_are_counted_and_sent_again() -> None:
    """Every seventh is never answered, and nothing else comes of it than time."""
    out, back = message_batch(16, 100, segments=True), message_batch(16, 100)
    out.length[:] = 100
    with open_udp_socket(("127.0.0.1", 0)) as far, open_udp_socket(("127.0.0.1", 0), far.getsockname()) as near:
        stop, came = threading.Event(), itertools.count(1)

        def answer() -> None:
            far.settimeout(0.02)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    packet, sender = far.recvfrom(200)
                    if next(came) % 7:
                        far.sendto(packet, sender)

        answering = threading.Thread(target=answer)
        answering.start()
        try:
            lost = counting.exchange(poll_set([near.fileno()]), near.fileno(), out, back, 60, 20)
        finally:
            stop.set()
            answering.join()
    assert next(came) - 1 == 60 + lost
    assert lost >= 60 // 7


def test_the_limit_of_an_all_reduce_is_its_packets_on_its_links(root: None) -> None:
    setting = Setting(Rack(2, 20.0), values=1 << 17, repeats=2)
    found = limit(setting)
    bits = 8 * setting.values // 64 * wire.packet_bytes(64)
    assert len(found.seconds) == 2
    assert found.lost == 0
    assert all(0.9 * bits / 20e6 < seconds for seconds in found.seconds)


def test_parts_are_kept_as_they_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    for part, figure in (("start", 1.0), ("limits", 2.0), ("start", 3.0)):
        measure.keep(path, part, [row(part, "s", figure)])
    parts = json.loads(path.read_text())["parts"]
    assert list(parts) == ["limits", "start"]  # in the order of the bench
    assert parts["start"][0]["figure"]["median"] == 3.0
    lines = path.with_suffix(".md").read_text().splitlines()
    assert lines[2:] == ["| limits | 2.00 | s |  |  |  |", "| start | 3.00 | s |  |  |  |"]


def test_phases_of_an_iteration_overlap_and_idle_is_what_none_of_them_covers() -> None:
    assert trainer.covered([(0.0, 1.0), (0.5, 2.0), (0.6, 0.7), (3.0, 4.0)]) == 3.0
    times = [
        BucketTimes(0, 1.0, 1.0, 2.0, SumTimes(2.0, 4.0, 3.0, 6.0), 7.0),
        BucketTimes(1, 2.0, 2.0, 3.0, SumTimes(3.0, 5.0, 4.0, 7.0), 8.0),
        BucketTimes(2, 2.0, None, None, None, 8.0),  # was redone: nothing is known of it
    ]
    found = trainer.phases(0.0, 10.0, 2.0, times)
    wanted = {"compute": 2, "quantise": 2, "send": 3, "switch": 2, "receive": 4, "dequantise": 2, "idle": 2}
    assert found == {"iteration": 10, **wanted}
    assert set(training.PHASES) == set(wanted)


def test_a_part_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^bench: no part 'speed'; there are: limits, pipeline, "):
        measure.bench(tmp_path, ["speed"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_part_says_so_and_leaves_no_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], root: None
) -> None:
    measure.bench(tmp_path, ["gpu"])
    assert capsys.readouterr().out == "gradients on a GPU: not measured, torch finds no GPU\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_on_a_gpu_gradients_are_measured_beside_copies() -> None:
    rows = list(import_module("experiments.studies.bench.gpu").measure(print))
    assert len(rows) == 4
    assert all(each.ratio is not None and 0 < each.ratio < 1 for each in rows)
