"""An input: up to a few dozen steps of 38 bytes each, most of them a packet by its fields; and how inputs change.

The lanes of a packet follow from its `fill`: 0 gives the honest ones, so that a receiver's sums can be checked. What
the fields cannot say (lengths that lie, bytes anywhere) is said by `longer`, `shape` and `patch`.
"""

from __future__ import annotations

import numpy as np

from esa import wire
from esa.job import Member, Run
from esa.wire import Flag, Kind
from tests.p4.traffic import ones_complement_sum

STEP = np.dtype(
    [
        ("do", "u1"),  # what to do; mostly: a packet arrives
        ("member", "u1"),  # from whom
        ("peer", "u1"),  # to whom
        ("wait", "u1"),  # before: 0 hardly any time, else a power of two
        ("shape", "u1"),  # bits below
        ("fill", "u1"),  # lanes: 0 honest, then extremes, then noise
        ("longer", ">i2"),  # bytes more (or less) than there should be
        ("header", wire.HEADER),
        ("patch_at", ">u2", (2,)),  # where to overwrite a byte (0: nowhere)
        ("patch", "u1", (2,)),
    ]
)
MAX_STEPS = 40

CHECKSUM_WRONG, OTHER_PORT, TO_SWITCH, TO_WORKER, FROM_ELSEWHERE, OLD_CHECKSUM, OWN_INDEX, NOT_ESA = (
    1 << n for n in range(8)
)
_EXTREMES = (0, 0, 2**31 - 1, -(2**31), -1, 1)
_CUTS = (-1, -2, -3, -4, -255, -256, -257, -279, -280, -281, -288, -308, -322, 1, 2, 4, 16, 280, 1000)
_BITMAPS = (0, 1, 2, 3, 4, 7, 8, 0x80000000, 0xFFFFFFFF)


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """One array of steps; numpy's own way would turn the fields into this machine's byte order."""
    return np.concatenate(parts, dtype=STEP)


def run_number(job: int, epoch: int) -> int:
    return job | epoch << 16


def honest_lanes(run: int, seq: int, contributors: list[tuple[int, int]], lanes: int) -> np.ndarray:
    """The sum of what (rack, worker) contributors of a run (`run_number`) send as `seq`: different for each of them."""
    first = sum(
        (run * 7919 + (seq & 0xFFFF) * 104729 + (rack * 32 + bit + 1) * 1299709) % 65521 for rack, bit in contributors
    )
    return (first + len(contributors) * np.arange(lanes)).astype(np.int32)


def bits(bitmap: int) -> list[int]:
    return [n for n in range(32) if bitmap >> n & 1]


def lanes_of(step: np.void, contributors: list[tuple[int, int]], lanes: int) -> np.ndarray:
    """The lanes of the packet that a step describes."""
    fill, header = int(step["fill"]), step["header"]
    if fill == 0:
        run = run_number(int(header["job"]), int(header["epoch"]))
        return honest_lanes(run, int(header["seq"]), contributors, lanes)
    if fill < len(_EXTREMES):
        return np.full(lanes, _EXTREMES[fill], np.int32)
    return (np.arange(lanes, dtype=np.int64) * fill * 0x9E3779B1 & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def datagram(step: np.void, contributors: list[tuple[int, int]], lanes: int) -> bytes:
    """The UDP payload: header, lanes, then as much longer or shorter as asked."""
    payload = step["header"].tobytes() + lanes_of(step, contributors, lanes).astype(">i4").tobytes()
    return _resize(bytearray(payload), step)


def _resize(data: bytearray, step: np.void) -> bytes:
    for at, value in zip(step["patch_at"].tolist(), step["patch"].tolist(), strict=True):
        if at:
            data[at % len(data)] = value
    longer = max(-len(data), min(int(step["longer"]), 1200))
    return bytes(data + bytes(longer)) if longer >= 0 else bytes(data[:longer])


def frame(step: np.void, hosts: list[Member], switch: Run, contributors: list[tuple[int, int]]) -> tuple[int, bytes]:
    """(ingress port, frame) of a step; the frame has 64 lanes before it is cut or patched."""
    source, destination = hosts[int(step["member"]) % len(hosts)], hosts[int(step["peer"]) % len(hosts)]
    shape = int(step["shape"])
    header = step["header"].copy()
    if shape & OWN_INDEX:
        header["index"] = wire.aggregator_index(int(header["job"]), int(header["epoch"]), int(header["seq"]))
    payload = header.tobytes() + lanes_of(step, contributors, 64).astype(">i4").tobytes()
    source_port = source.udp_port ^ (1 if shape & FROM_ELSEWHERE else 0)
    to_port = destination.udp_port if shape & TO_WORKER else wire.ESA_PORT
    if shape & NOT_ESA:
        source_port, to_port = 4000, 4001
    length = 8 + len(payload)
    address = switch.switch_ip.packed if shape & TO_SWITCH else destination.ip.packed
    ipv4 = b"\x45\x00" + (20 + length).to_bytes(2, "big") + bytes(4) + b"\x40\x11\0\0" + source.ip.packed + address
    udp = b"".join(v.to_bytes(2, "big") for v in (source_port, to_port, length, 0))
    ethernet = bytes.fromhex(destination.mac.replace(":", "") + source.mac.replace(":", "")) + b"\x08\x00"
    data = bytearray(ethernet + ipv4 + udp + payload)
    if shape & OLD_CHECKSUM:
        data[24:26] = ones_complement_sum(data[14:34]).to_bytes(2, "big")
        data = bytearray(_resize(data, step))
    else:
        data = bytearray(_resize(data, step))
        if len(data) >= 34:
            data[24:26] = b"\0\0"
            data[24:26] = ones_complement_sum(data[14:34]).to_bytes(2, "big")
    if shape & CHECKSUM_WRONG and len(data) >= 26:
        data[25] ^= 0x5A
    return (destination if shape & OTHER_PORT else source).switch_port, bytes(data)


def blank() -> np.ndarray:
    """One step, (1,): a well-formed header and nothing else."""
    step = np.zeros(1, STEP)
    step["header"]["version_kind"] = wire.version_kind(Kind.GRADIENT)
    step["header"]["priority"] = 1
    step["header"]["bitmap0"] = step["header"]["bitmap1"] = 1
    step["shape"] = OWN_INDEX
    return step


def _field(rng: np.random.Generator, steps: np.ndarray, at: int) -> None:
    """One field of a step becomes something that its receiver may care about."""
    header = steps[at]["header"]
    name = rng.choice(wire.HEADER.names)
    if name == "version_kind":
        odd = rng.random() < 0.2
        header[name] = rng.integers(256) if odd else wire.version_kind(int(rng.integers(1, 7)))
    elif name == "flags":
        header[name] ^= int(rng.choice([int(flag) for flag in Flag] + [64, 128, 255]))
    elif name in ("bitmap0", "bitmap1"):
        header[name] = rng.choice(_BITMAPS) if rng.random() < 0.8 else rng.integers(2**32)
    elif name == "seq":
        far = (0, 1, -1, 8, 16, 17, -16, 2**31 - 1, 2**31, 2**31 + 1, 2**30)
        header[name] = (
            (int(header[name]) + int(rng.choice(far))) & 0xFFFFFFFF if rng.random() < 0.7 else rng.integers(8)
        )
    elif name == "exponent":
        header[name] = rng.choice([-128, -1, 0, 1, 126, 127])
    elif name == "priority":
        header[name] = rng.choice([0, 1, 2, 127, 128, 255])
    elif name == "epoch" and rng.random() < 0.7:
        header[name] = (int(header[name]) + int(rng.choice([-1, 1, 1, 2]))) & 0xFFFF
    elif name == "index":
        header[name] = rng.integers(8) if rng.random() < 0.7 else rng.integers(2**32)
    else:
        header[name] = rng.integers(6) if rng.random() < 0.8 else rng.integers(2**16)


def _settings(rng: np.random.Generator, steps: np.ndarray, at: int) -> None:
    """Something around the packet changes."""
    step = steps[at]
    what = rng.integers(8)
    if what == 0:
        step["do"] = rng.integers(256)
    elif what == 1:
        step["member"] = rng.integers(32)
    elif what == 2:
        step["peer"] = rng.integers(32)
    elif what == 3:
        step["wait"] = rng.integers(48)
    elif what == 4:
        step["shape"] ^= 1 << int(rng.integers(8))
    elif what == 5:
        step["fill"] = rng.choice([0, 0, 1, 2, 3, 200])
    elif what == 6:
        step["longer"] = rng.choice(_CUTS) if rng.random() < 0.5 else -int(rng.integers(330))
    else:
        k = rng.integers(2)
        step["patch_at"][k], step["patch"][k] = rng.integers(70), rng.integers(256)


def mutated(rng: np.random.Generator, steps: np.ndarray, other: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """A changed copy of an input; `other` is a second one to cross it with, `genuine` are steps that make sense."""
    for _ in range(1 << int(rng.integers(4))):
        at = int(rng.integers(len(steps))) if len(steps) else 0
        what = rng.integers(12) if len(steps) else 0
        steps = steps.copy()
        if what <= 2:
            new = genuine[rng.integers(len(genuine), size=int(rng.integers(1, 4)))]
            steps = joined([steps[:at], new, steps[at:]])
        elif what <= 5:
            _field(rng, steps, at)
        elif what <= 7:
            _settings(rng, steps, at)
        elif what == 8:
            steps = joined([steps[:at], steps[at : at + 1], steps[at:]])
        elif what == 9:
            steps = joined([steps[:at], steps[at + 1 :]])
        elif what == 10 and len(other):
            cut = int(rng.integers(len(other)))
            steps = joined([steps[:at], other[cut:]])
        else:
            raw = steps.view(np.uint8)
            raw[rng.integers(raw.size)] = rng.integers(256)
    return steps[:MAX_STEPS]
