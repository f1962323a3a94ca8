"""The reference of every key, made from the schema: `python -m experiments.specs.reference` writes docs/scenario.md and
docs/cluster-scenario.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from experiments.specs.arrivals import Arrivals
from experiments.specs.backends import Live, Virtual
from experiments.specs.cluster import (
    ArylSpec,
    ClusterScenario,
    CostSpec,
    Hosts,
    InferenceSpec,
    ListSpec,
    OnesSpec,
    PolluxSpec,
    SyntheticSpec,
)
from experiments.specs.cluster_network import ClusterNetwork
from experiments.specs.failures import FailureSpec
from experiments.specs.faults import FaultSpec
from experiments.specs.flows import FlowSpec
from experiments.specs.jobs import JobSettings, JobSpec
from experiments.specs.models import ModelSpec
from experiments.specs.network import Network
from experiments.specs.rate import MAX_BPS, rate_text
from experiments.specs.scenario import Scenario
from experiments.specs.timers import TimerSpec

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEAD = """# Scenarios

<!-- Made by `python -m experiments.specs.reference` from the schema in experiments/specs; a test holds it to that. -->

A scenario is a TOML file: jobs, the network between them, the switches' memory, faults, timers. `esa run X.toml` runs
it live, PyTorch processes on Mininet; `esa run --virtual X.toml`, or `esa sim X.toml`, runs the same file in virtual
time. What describes the experiment is said once, for both; where a backend cannot do what a file asks for, it refuses
the file with one line. What only one of them can use stands in its own section, `[live]` or `[virtual]`, or is marked
below; the other disregards it, unless the key says otherwise. Samples are in
[`experiments/scenarios`](../experiments/scenarios).

A key's unit is in its name: `_ns`, `_us`, `_ms`, `_s`, `_bytes`, `_packets`, `_mb` (MiB). Rates alone are texts with
their unit, `"25 Mb/s"`, `"100 Gb/s"`: links on one machine have some Mb/s, those of a data centre thousands of times
as much. k, M, G and T are powers of 1000.
"""
CLUSTER_HEAD = """# Scenarios of a cluster

<!-- Made by `python -m experiments.specs.reference` from the schema in experiments/specs; a test holds it to that. -->

What `esa cluster X.toml` runs: hosts, a scheduler, costs, and where jobs come from. What schedulers do and how
iterations are timed is in [the laboratory](laboratory.md); samples are in
[`experiments/scenarios/cluster`](../experiments/scenarios/cluster). A key's unit is in its name: `_s`, `_us`, `_ns`;
rates are texts with their unit, `"100 Gb/s"`. `esa sweep` takes such a scenario as its base, too, and any of these keys
as an axis:

```sh long
esa sweep experiments/scenarios/cluster/sweeps/load.toml --jobs 2
```
"""
# Heading, model, what comes before its table.
Section = tuple[str, type[BaseModel], str]
CLUSTER_SECTIONS: tuple[Section, ...] = (
    ("Top level", ClusterScenario, "Exactly one of `[synthetic]`, `[list]`, `[pollux]` and `[ones]` says who comes."),
    ("[cluster]", Hosts, "One of `hosts` and `topology` says how many."),
    ("[network]", ClusterNetwork, ""),
    ("[inference]", InferenceSpec, ""),
    ("[aryl]", ArylSpec, ""),
    ("[costs]", CostSpec, ""),
    ("[synthetic]", SyntheticSpec, ""),
    ("[list]", ListSpec, ""),
    ("[pollux]", PolluxSpec, ""),
    ("[ones]", OnesSpec, ""),
)
SECTIONS: tuple[Section, ...] = (
    ("Top level", Scenario, "Exactly one of `[[jobs]]`, `[arrivals]` and `trace` says which jobs there are."),
    ("[network]", Network, ""),
    ("[[jobs]]", JobSpec, "One table per job; besides these keys, all of `[job_defaults]`, whose values it replaces."),
    ("[job_defaults]", JobSettings, ""),
    ("[arrivals]", Arrivals, ""),
    ("[[models]]", ModelSpec, ""),
    ("[[faults]]", FaultSpec, "Rates are parts of the packets, 0 to 1."),
    (
        "[[flows]]",
        FlowSpec,
        "A run is over when its jobs are and flows with a `size_bytes` have arrived; the others are cut off then. "
        "Live, `tcp` is a stream socket with the kernel's congestion control and `constant` paced UDP, between the "
        "hosts' network namespaces. In virtual time, `tcp` is `esa/sim/transport/flow.py`, and packets are as long as "
        "`virtual.mtu_bytes` says. `[[faults]]` at the hosts are for all packets in virtual time and for ESA's alone "
        "live. `summary.json` has what arrived, goodput and losses of each, with the same keys live and in virtual "
        "time.",
    ),
    (
        "[[failures]]",
        FailureSpec,
        "What is down already stays so until the last of its failures is over. A host is one without flows. In virtual "
        "time the coordinator hears of it at once, and its jobs sum by `ina`. Live, processes are killed (SIGKILL) and "
        "started again, which takes seconds; the workers of a job that a host stops are ended on all its hosts, as a "
        "launcher does it, and its next run has a new epoch. `summary.json` has under `failures` when each died, when "
        "it was back, when it did its work again and which jobs it stopped. Besides, a live run starts a switch or a "
        "PS again that somebody kills.",
    ),
    ("[timers]", TimerSpec, ""),
    ("[live]", Live, ""),
    ("[virtual]", Virtual, ""),
)
COLUMNS = ("key", "type", "unit", "default", "allowed", "counts", "meaning")
CLUSTER_COLUMNS = tuple(column for column in COLUMNS if column != "counts")  # there is one backend
_UNITS = {"_ns": "ns", "_us": "us", "_ms": "ms", "_s": "s", "_bytes": "bytes", "_packets": "packets", "_mb": "MiB"}
_LOWEST = {"minimum": "from", "exclusiveMinimum": "above"}
_HIGHEST = {"maximum": "to", "exclusiveMaximum": "below"}
_OTHERS = {
    "multipleOf": "a multiple of {}",
    "minItems": "{} or more",
    "maxItems": "at most {}",
    "minProperties": "{} or more",
    "maxLength": "at most {} characters",
}


def pages() -> dict[str, str]:
    """By name, docs/scenario.md and docs/cluster-scenario.md as the schema has them."""
    return {
        "scenario.md": "\n".join([HEAD, *(_section(*section, COLUMNS) for section in SECTIONS)]),
        "cluster-scenario.md": "\n".join(
            [CLUSTER_HEAD, *(_section(*section, CLUSTER_COLUMNS) for section in CLUSTER_SECTIONS)]
        ),
    }


def _section(heading: str, model: type[BaseModel], before: str, columns: tuple[str, ...]) -> str:
    words = [] if model in (Scenario, ClusterScenario) else [" ".join((model.__doc__ or "").split())]
    inherited = JobSettings.model_fields.keys() - {"model"} if model is JobSpec else set()
    rows = sorted((row for row in rows_of(model) if row[0] not in inherited), key=lambda row: row[0] != "name")
    lines = [
        f"## {heading if heading[0] != '[' else f'`{heading}`'}",
        "",
        *filter(None, [" ".join([*words, before]).strip()]),
        "",
    ]
    lines += [_line(columns), _line(["---"] * len(columns))]
    shown = [COLUMNS.index(column) for column in columns[1:]]
    lines += [_line([f"`{row[0]}`", *(row[k] for k in shown)]) for row in rows]
    return "\n".join([*lines, ""])


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def rows_of(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """A row of `COLUMNS` for each key of a model."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    for name, field in model.model_fields.items():
        name = field.alias or name
        found = _plain(schema["properties"][name], definitions)
        default = field.default
        if default is PydanticUndefined:
            shown = "must be given"
        elif default is None or default == () or default == {}:
            shown = found.get("absent", "none")
        elif isinstance(default, BaseModel):
            shown = "every key's own"
        elif found.get("kind") == "rate":
            shown = rate_text(default)
        else:
            shown = _value(default)
        unit = found.get("unit") or next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
        allowed = found.get("allowed") or ", ".join(_bounds(found))
        yield name, _type(found), unit, shown, allowed, found.get("backend", "both"), field.description or ""


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A key's schema with what it refers to, and without "or null": a key that is left out."""
    found = dict(schema)
    if "$ref" in found:
        found = {**definitions[found.pop("$ref").rsplit("/", 1)[1]], **found}
    for part in found.pop("allOf", []):
        found = {**_plain(part, definitions), **found}
    options = [_plain(each, definitions) for each in found.pop("anyOf", []) if each.get("type") != "null"]
    if len(options) == 1:
        return {**options[0], **found}
    return found | ({"options": options} if options else {})


def _type(schema: Mapping[str, Any]) -> str:
    if "options" in schema:
        return " or ".join(map(_type, schema["options"]))
    if schema.get("kind") == "rate":
        return "rate"
    kind = schema.get("type", "text" if "enum" in schema or "const" in schema else "table")
    if kind == "array":
        of = schema.get("items", {})
        return "tables" if "$ref" in of else f"list of {_type(of)}s"
    return {
        "string": "text",
        "number": "number",
        "integer": "whole number",
        "boolean": "true or false",
        "object": "table",
    }[kind]


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    if schema.get("kind") == "rate":
        yield f"above 0 b/s to {rate_text(MAX_BPS)}"
        return
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    yield from (str(value) for value in values)
    if "pattern" in schema:
        yield "letters, digits, `_`, `.`, `-`, a letter or digit first"
    ends = {**_LOWEST, **_HIGHEST}
    within = " ".join(f"{word} {_number(schema[name])}" for name, word in ends.items() if name in schema)
    yield from filter(None, [within])
    yield from (text.format(_number(schema[name])) for name, text in _OTHERS.items() if name in schema)
    parts = schema.get({"array": "items", "object": "additionalProperties"}.get(schema.get("type", ""), ""))
    inner = list(_bounds(parts)) if isinstance(parts, Mapping) and "$ref" not in parts else []
    if inner:
        yield f"each {', '.join(inner)}"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _number(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def main() -> int:
    for name, text in pages().items():
        (DOCS / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
