"""Kernels of one request of a model, in their order: what each is called, needs and takes.

    read_kernels(Path("resnet50_4_fwd"))

The format is that of eth-easl/orion, `benchmarking/model_kernels` (MIT): a CSV file for each model and batch with
`Name,Profile,Memory_footprint,SM_usage,Duration`; profile 1 is bound by computing, 0 by memory, -1 unknown; durations
are nanoseconds. Names there are shortened, so that a kernel's identity is its name and how many SMs it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esa.laboratory.inputs.rows import InputError, read_rows

COMPUTE, MEMORY, UNKNOWN = 1, 0, -1  # what bounds a kernel
MAX_NS = 10**10  # of a kernel
MAX_SMS = 10**6
MAX_KERNELS = 10**6  # of a request
PLACEHOLDER_NS = 7  # stands in the authors' `_fb0` files in place of every duration
COLUMNS = ("Name", "Profile", "SM_usage", "Duration")


@dataclass(frozen=True)
class Kernels:
    """By kernel, in the order of their launches.

    identity: int64, equal for kernels that cannot be told from each other; profile: int64, COMPUTE, MEMORY or UNKNOWN;
    sms: int64, how many SMs it wants; duration_ns: int64, at least 1.
    """

    names: tuple[str, ...]
    identity: npt.NDArray[np.int64]
    profile: npt.NDArray[np.int64]
    sms: npt.NDArray[np.int64]
    duration_ns: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, names: Sequence[str], profile: npt.ArrayLike, sms: npt.ArrayLike, duration_ns: npt.ArrayLike
    ) -> Kernels:
        """With identities by name and SMs. ValueError unless all are as many, and durations are above 0."""
        profiles, wanted, durations = (np.asarray(one, np.int64) for one in (profile, sms, duration_ns))
        if not len(names) or not len(names) == len(profiles) == len(wanted) == len(durations):
            raise ValueError(
                f"kernels: {len(names)} names, {len(profiles)} profiles, {len(wanted)} SMs, {len(durations)} durations"
                "; allowed: one of each for every kernel, and a kernel"
            )
        if durations.min() < 1:
            raise ValueError(f"duration_ns: {durations.min()}; allowed: 1 and more")
        numbers: dict[tuple[str, int], int] = {}
        identity = [numbers.setdefault((name, int(sm)), len(numbers)) for name, sm in zip(names, wanted, strict=True)]
        return cls(tuple(names), np.asarray(identity, np.int64), profiles, wanted, durations)

    def __len__(self) -> int:
        return len(self.names)


def read_kernels(path: Path) -> Kernels:
    """Read a file of Orion's. InputError says file, line and column; also for the placeholders of an `_fb0` file."""
    names, profile, sms, duration_ns = [], [], [], []
    for row in read_rows(path, COLUMNS):
        if not row.text["Name"]:
            raise row.error("Name", "a kernel's name")
        names.append(row.text["Name"])
        profile.append(int(row.one_of("Profile", ("1", "0", "-1"))))
        sms.append(row.whole("SM_usage", 0, MAX_SMS))
        duration_ns.append(row.whole("Duration", 1, MAX_NS))
        if len(names) > MAX_KERNELS:
            raise InputError(f"{path}: line {row.line}: more than {MAX_KERNELS} kernels; allowed: up to that")
    if set(duration_ns) == {PLACEHOLDER_NS}:
        raise InputError(
            f"{path}: column Duration: every kernel takes {PLACEHOLDER_NS} ns, which is a placeholder; allowed: "
            "durations that were measured, as in the files without _fb0"
        )
    return Kernels.of(names, profile, sms, duration_ns)
