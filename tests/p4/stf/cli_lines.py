"""An STF's commands as lines of simple_switch_CLI."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.p4.stf.entries import entry, tables_of, whole_name
from tests.p4.stf.script import Add, CheckCounter, Cli, Command, SetDefault

_COUNT = re.compile(r"\((\d+) bytes, (\d+) packets\)")


class CliLines:
    """Lines for a program, command after command: tables give their entries handles in the order of adding."""

    def __init__(self, program: Mapping[str, Any]) -> None:
        self._tables = tables_of(program)
        self._counters = [counter["name"] for counter in program["counter_arrays"]]
        tables = [table for pipeline in program["pipelines"] for table in pipeline["tables"]]
        self._handles = Counter({table["name"]: len(table.get("entries", ())) for table in tables})
        self._labels: dict[str, int] = {}

    def line(self, command: Command) -> str:
        """The line of a command that changes something; empty for others."""
        if isinstance(command, Add):
            new = entry(self._tables, command)
            self._labels[command.label] = self._handles[new.table]
            self._handles[new.table] += 1
            return new.command() + "\n"
        if isinstance(command, SetDefault):
            return entry(self._tables, command).command() + "\n"
        return " ".join(command.words) + "\n" if isinstance(command, Cli) else ""

    def read(self, command: CheckCounter) -> str:
        """The line that reads what a command looks at."""
        cell = command.cell if command.cell.isdigit() else self._labels[command.cell.lstrip("$")]
        return f"counter_read {whole_name(command.counter, self._counters, 'counter')} {cell}\n"


def count(answer: str) -> tuple[int, int]:
    """Packets and bytes in what simple_switch_CLI answers to `counter_read`. Raises ValueError if there are none."""
    found = _COUNT.search(answer)
    if found is None:
        raise ValueError(f"simple_switch_CLI reads no counter: {answer.strip()}")
    return int(found[2]), int(found[1])
