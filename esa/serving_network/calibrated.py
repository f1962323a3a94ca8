"""A simulated network on which a ring takes what was measured on a real fabric."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from esa.errors import BadInput
from esa.serving.network import ALL_REDUCE, Group, measured
from esa.serving_network.network import SharedNetwork
from esa.serving_network.port import SimulatedPort

STREAMS = 1 << 20  # messages from here on are bound by bandwidth
_SIZES = (1 << 20, 1 << 22)


def ring_like(fabric: str, group: Group) -> SharedNetwork:
    """Rate and delay by least squares of relative errors through what was measured from `STREAMS` bytes on; every
    GPU has a cable, whatever it shared there.

    BadInput for what was not measured.
    """
    groups = measured("all_reduce").get(fabric, {})
    if group not in groups:
        raise BadInput(f"{fabric}: {group.workers} GPUs, {group.per_host} on a host, were not measured")
    curve = groups[group]
    sizes, ms = (np.array(each, float) for each in (curve.sizes, curve.ms))
    large = sizes >= STREAMS
    terms = np.stack([np.ones(large.sum()), sizes[large]], axis=1) / ms[large, None]
    (constant_ms, each_ms), *_ = np.linalg.lstsq(terms, np.ones(large.sum()), rcond=None)
    first = SharedNetwork(hosts=group.workers, carrier="ring", delay_ns=0)
    rate_bps = first.rate_bps * _line(first)[1] / (each_ms * 1e6)
    streaming = replace(first, rate_bps=rate_bps)
    missing_ns = constant_ms * 1e6 - _line(streaming)[0]
    steps = 2 * (group.workers - 1)
    return replace(streaming, delay_ns=max(0, round(missing_ns / steps / 2)))  # of a cable; a step passes two


def _line(network: SharedNetwork) -> tuple[float, float]:
    """ns of nothing, and of each byte."""
    port = SimulatedPort(network)
    below, above = (port.collective(Group(network.hosts, 1), ALL_REDUCE, size) for size in _SIZES)
    each = (above - below) / (_SIZES[1] - _SIZES[0])
    return below - each * _SIZES[0], each
