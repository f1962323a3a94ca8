"""Meters of a BMv2 JSON document; anything unknown is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esa.switch.compiler.program import Field, MeterArray
from esa.switch.errors import UnsupportedError

Json = Mapping[str, Any]


def meter_arrays(root: Json) -> dict[str, MeterArray]:
    """The meters, direct ones among them, by name."""
    meters = {}
    for item in root.get("meter_arrays", ()):
        name, unit, direct = item["name"], item["type"], bool(item.get("is_direct"))
        if unit not in ("packets", "bytes"):
            raise UnsupportedError(f"meter {name} is of type {unit!r}; packets and bytes are allowed")
        if item["rate_count"] != 2:
            raise UnsupportedError(f"meter {name} has {item['rate_count']!r} rates; 2 are allowed")
        target = None
        if direct:
            if "result_target" not in item:
                raise UnsupportedError(f"meter {name}: no field takes its result (direct_meter.read)")
            target = Field(*item["result_target"])
        meters[name] = MeterArray(name, int(item.get("size") or 0), unit, direct, target)
    return meters
