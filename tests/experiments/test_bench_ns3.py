"""ns-3 carries exactly the packets it is asked to, at the speed of the links; where it is missing, one line says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.studies.bench import ns3
from experiments.studies.bench.ns3 import Ns3Error, Ns3Run, Traffic

REASON = ns3.why_not()
needs_ns3 = pytest.mark.skipif(REASON is not None, reason=f"needs ns-3: {REASON}")


@pytest.mark.slow
@needs_ns3
@pytest.mark.parametrize("variant", ns3.VARIANTS)
@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(packets_per_worker=300, hosts=8, jobs=2, window=128),
        Traffic(packets_per_worker=5, hosts=3, jobs=1, frame_bytes=1100, delay_ns=0, window=1),
        Traffic(packets_per_worker=100, hosts=12, jobs=3, rate_bps=1_000_000_000, delay_ns=10_000, window=100),
    ],
)
def test_every_packet_makes_two_hops_at_its_size_and_the_rate_of_the_links(variant: str, traffic: Traffic) -> None:
    done = ns3.run(traffic, variant, print)
    assert done.workers == traffic.hosts - traffic.jobs
    assert done.packet_hops == 2 * traffic.packets_per_worker * done.workers
    assert done.bytes == done.packet_hops * traffic.frame_bytes
    assert 0 < done.peak_memory_bytes < 2**30
    # Packet n leaves when the link is free and, from the second window on, when packet n - window has arrived.
    packet_ns = round(traffic.frame_bytes * 8e9 / traffic.rate_bps)
    crossing_ns = 2 * (packet_ns + traffic.delay_ns)
    windows, rest = divmod(traffic.packets_per_worker - 1, traffic.window)
    last_ns = windows * max(traffic.window * packet_ns, crossing_ns) + rest * packet_ns
    assert round(done.simulated_s * 1e9) == last_ns + crossing_ns


@pytest.mark.slow
@needs_ns3
@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        (Traffic(packets_per_worker=0), "--packets-per-worker is 0, must be an integer in 1..1000000000"),
        (Traffic(1, hosts=64, jobs=7), "--hosts is 64, must be a multiple of --jobs, at least 3 per job"),
        (Traffic(1, hosts=4, jobs=2), "--hosts is 4, must be a multiple of --jobs, at least 3 per job"),
        (Traffic(1, frame_bytes=30), "--size is 30, must be an integer in 31..1502"),
        (Traffic(1, delay_ns=-1), "--delay is -1, must be an integer in 0..1000000000"),
        (Traffic(1, window=0), "--window is 0, must be an integer in 1..1000000"),
    ],
)
def test_traffic_that_makes_no_sense_is_refused_in_one_line(traffic: Traffic, message: str) -> None:
    with pytest.raises(Ns3Error) as refused:
        ns3.run(traffic, "raw", print)
    assert str(refused.value) == f"ns3_star: {message}"


@pytest.mark.slow
@needs_ns3
def test_arguments_that_are_not_known_or_lack_a_value_are_refused_in_one_line() -> None:
    program = str(ns3.compiled(print))
    for words, message in (
        (["--host", "3"], "--host is not known"),
        (["--hosts"], "--hosts lacks its value"),
        (["--variant", "tcp"], "--variant is tcp, must be raw or udp"),
        (["--hosts", "6x"], "--hosts is 6x, must be an integer in 3..4096"),
    ):
        with pytest.raises(Ns3Error) as refused:
            ns3.checked_output([program, *words], limit_s=10.0)
        assert str(refused.value) == f"ns3_star: {message}"


@pytest.mark.slow
@needs_ns3
def test_a_run_that_takes_too_long_is_ended() -> None:
    with pytest.raises(Ns3Error, match=r"^ns3_star: not done within 0\.2 s$"):
        ns3.run(Traffic(packets_per_worker=1_000_000_000), "raw", print, limit_s=0.2)


def test_the_best_run_of_the_faster_variant_is_the_baseline_and_both_are_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traffic = Traffic.carrying(50, hosts=6, jobs=2)
    assert (traffic.packets_per_worker, traffic.packet_hops) == (7, 56)  # 8 hops for each
    wall_s = {"raw": [0.004, 0.002], "udp": [0.007, 0.008]}

    def timed(traffic: Traffic, variant: str, say: object) -> Ns3Run:
        return Ns3Run(variant, 4, 56, 56 * 322, wall_s[variant].pop(0), 0.002, 1e-5, 3 << 20)

    monkeypatch.setattr(ns3, "run", timed)
    monkeypatch.setattr(ns3, "version", lambda: "3.37")
    lines: list[str] = []
    assert ns3.ns3_packet_hops_per_s(traffic, lines.append, repeats=2) == 56 / 0.002
    assert lines == [
        "ns-3 3.37 (raw), 6 hosts, 322-byte frames: 0.028 million packet-hops/s, 3 MiB",
        "ns-3 3.37 (udp), 6 hosts, 322-byte frames: 0.008 million packet-hops/s, 3 MiB (disturbed: 29% of a core)",
    ]


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ({}, "g++ is not on the PATH"),
        ({"g++": 0}, "pkg-config is not on the PATH"),
        (
            {"g++": 0, "pkg-config": 1},
            "pkg-config does not find ns3-internet and ns3-point-to-point (Debian: libns3-dev)",
        ),
        ({"g++": 0, "pkg-config": 0}, None),
    ],
)
def test_what_is_missing_is_named(
    commands: dict[str, int], reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, status in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ns3.why_not() == reason


@needs_ns3
def test_a_program_that_does_not_compile_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "ns3_star.cc"
    source.write_text("int main() { return missing; }\n")
    monkeypatch.setattr(ns3, "SOURCE", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Ns3Error, match=r"^\S+ns3_star.cc:1:\d+: error: .missing. was not declared in this scope$"):
        ns3.compiled(print)
    assert list((tmp_path / "cache" / "esa-bench").iterdir()) == []
