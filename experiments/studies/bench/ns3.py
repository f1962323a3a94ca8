"""ns-3 with the traffic of one switch that aggregates (`ns3_star.cc`): what the simulator's speed is compared with.

if reason := why_not():
    say(f"not compared with ns-3: {reason}")
else:
    ns3 = ns3_packet_hops_per_s(Traffic.carrying(outcome.packet_hops, delay_ns=1000, window=128), say)

pkg-config says where ns-3 is, so PKG_CONFIG_PATH chooses among several: a build of one's own without logging and
assertions (`./ns3 configure -d optimized`) is faster than Debian's libns3-dev, which has both.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esa.errors import EsaError
from esa.native_cache import cache_directory

SOURCE = Path(__file__).with_name("ns3_star.cc")
MODULES = ("ns3-internet", "ns3-point-to-point")
VARIANTS = ("raw", "udp")
COMPILE_LIMIT_S, RUN_LIMIT_S = 120.0, 600.0
QUIET = 0.9  # of a core; with less a figure says more about the machine than about ns-3


class Ns3Error(EsaError, RuntimeError):
    """The program was not compiled, refused its arguments, or did not carry what it was asked to."""


@dataclass(frozen=True)
class Traffic:
    """Of each job's hosts all but the PS send `packets_per_worker` packets of `frame_bytes` to a peer of the same job.

    window: packets of one worker under way at once. It has to cover the round trip for links to be busy all the time.
    """

    packets_per_worker: int
    hosts: int = 64
    jobs: int = 8
    frame_bytes: int = 322  # Ethernet frame of a 64-lane packet without FCS
    rate_bps: int = 100_000_000_000
    delay_ns: int = 1000  # of one cable
    window: int = 128

    @classmethod
    def carrying(cls, packet_hops: int, *, hosts: int = 64, jobs: int = 8, **settings: int) -> Traffic:
        """Traffic of at least `packet_hops`, in whole packets per worker (2 hops each)."""
        per_packet = 2 * (hosts - jobs)
        return cls(packets_per_worker=-(-packet_hops // per_packet), hosts=hosts, jobs=jobs, **settings)

    @property
    def packet_hops(self) -> int:
        return 2 * (self.hosts - self.jobs) * self.packets_per_worker

    def arguments(self) -> list[str]:
        values = {
            "--hosts": self.hosts,
            "--jobs": self.jobs,
            "--packets-per-worker": self.packets_per_worker,
            "--size": self.frame_bytes,
            "--rate": self.rate_bps,
            "--delay": self.delay_ns,
            "--window": self.window,
        }
        return [str(word) for item in values.items() for word in item]


@dataclass(frozen=True)
class Ns3Run:
    """What one run of ns-3 did. wall_s and cpu_s are the event loop's alone, without setting up.

    ns-3 has one thread: cpu_s well below wall_s says that something else had the processor meanwhile.
    """

    variant: str
    workers: int
    packet_hops: int  # packets that reached the end of a cable
    bytes: int  # of these packets
    wall_s: float
    cpu_s: float
    simulated_s: float
    peak_memory_bytes: int

    @property
    def packet_hops_per_s(self) -> float:
        return self.packet_hops / self.wall_s


def why_not() -> str | None:
    """Why ns-3 cannot be run here, in one line, or None."""
    for command in ("g++", "pkg-config"):
        if shutil.which(command) is None:
            return f"{command} is not on the PATH"
    if subprocess.run(["pkg-config", "--exists", *MODULES], check=False).returncode:
        return f"pkg-config does not find {' and '.join(MODULES)} (Debian: libns3-dev)"
    return None


def _pkg_config(*options: str) -> str:
    return subprocess.run(
        ["pkg-config", *options, *MODULES], check=True, capture_output=True, text=True, timeout=COMPILE_LIMIT_S
    ).stdout


def version() -> str:
    """ns-3's, such as "3.37"."""
    return _pkg_config("--modversion").split()[0]


def compiled(say: Callable[[str], None]) -> Path:
    """The program, compiled for the ns-3 that is installed, unless that has been done before.

    Raises Ns3Error with the compiler's first error.
    """
    # Debian's .pc files also name files of -dev packages that libns3-dev does not depend on: directories and -l only.
    libraries = shlex.split(_pkg_config("--libs-only-L")) + shlex.split(_pkg_config("--libs-only-l"))
    # An installed build of one's own is found without the linker's search path; old tags: its libraries' libraries too.
    places = [f"-Wl,--disable-new-dtags,-rpath,{word[2:]}" for word in libraries if word.startswith("-L")]
    flags = ["-std=c++17", "-O3", *shlex.split(_pkg_config("--cflags-only-I")), str(SOURCE), *libraries, *places]
    digest = hashlib.sha256(SOURCE.read_bytes() + "\0".join([version(), *flags]).encode()).hexdigest()
    program = cache_directory("esa-bench") / f"ns3_star-{digest[:24]}"
    if program.exists():
        return program
    say(f"compiling {SOURCE.name} for ns-3 {version()}")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        made = Path(folder) / program.name
        checked_output(["g++", *flags, "-o", str(made)], COMPILE_LIMIT_S)
        os.replace(made, program)  # never half a program, whoever else compiles it
    return program


def run(traffic: Traffic, variant: str, say: Callable[[str], None], limit_s: float = RUN_LIMIT_S) -> Ns3Run:
    """One run. Raises Ns3Error, in one line, for traffic that makes no sense or was not carried whole, or the limit."""
    command = [str(compiled(say)), "--variant", variant, *traffic.arguments()]
    done = Ns3Run(**json.loads(checked_output(command, limit_s)))
    carried, asked = (done.packet_hops, done.bytes), (traffic.packet_hops, traffic.packet_hops * traffic.frame_bytes)
    if carried != asked:
        raise Ns3Error(f"ns-3 ({variant}): carried {carried}, not {asked} packet-hops and bytes")
    return done


def best_runs(traffic: Traffic, say: Callable[[str], None], repeats: int = 3) -> dict[str, Ns3Run]:
    """The fastest run of each variant, the variants in turn; `say` gets a line for each."""
    runs = [run(traffic, variant, say) for _ in range(repeats) for variant in VARIANTS]
    best = {v: max((r for r in runs if r.variant == v), key=lambda r: r.packet_hops_per_s) for v in VARIANTS}
    for variant, fastest in best.items():
        share = fastest.cpu_s / fastest.wall_s
        say(
            f"ns-3 {version()} ({variant}), {traffic.hosts} hosts, {traffic.frame_bytes}-byte frames: "
            f"{fastest.packet_hops_per_s / 1e6:.3f} million packet-hops/s, {fastest.peak_memory_bytes >> 20} MiB"
            + (f" (disturbed: {share:.0%} of a core)" if share < QUIET else "")
        )
    return best


def ns3_packet_hops_per_s(traffic: Traffic, say: Callable[[str], None], repeats: int = 3) -> float:
    """The faster variant's best of `repeats`. Raises as `run` does; ask `why_not` first."""
    return max(best.packet_hops_per_s for best in best_runs(traffic, say, repeats).values())


def checked_output(command: list[str], limit_s: float) -> str:
    """What a command printed. Raises Ns3Error with the first line of its complaint that names an error, or the last."""
    name = Path(command[0]).name.split("-")[0]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise Ns3Error(f"{name}: not done within {limit_s:g} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{name}: ended with status {done.returncode}"]
        raise Ns3Error(next((line for line in lines if "error" in line), lines[-1]))
    return done.stdout
