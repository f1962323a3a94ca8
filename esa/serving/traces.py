"""Traces of requests as their authors publish them, read and refused by line and column.

    read_trace(Path("AzureLLMInferenceTrace_conv.csv"), "azure")

azure:    Azure/AzurePublicDataset, AzureLLMInferenceTrace_*.csv: TIMESTAMP, ContextTokens, GeneratedTokens
burstgpt: HPMLL/BurstGPT, BurstGPT_*.csv: Timestamp, Request tokens, Response tokens; what failed has no response
vidur:    microsoft/vidur, data/processed_traces/splitwise_*.csv: arrived_at, num_prefill_tokens, num_decode_tokens
lengths:  the same of a trace without times, as arxiv_summarization_stats_*.csv: all come at once
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from esa.errors import BadInput
from esa.laboratory.inputs.rows import InputError, Row, read_rows
from esa.serving.requests import Request

SECOND_NS = 10**9
_MOST = 10**7  # tokens


@dataclass(frozen=True)
class Layout:
    """Columns. moment: the time is a date, not seconds; at: None where there is none."""

    at: str | None
    prompt: str
    output: str
    moment: bool = False


FORMATS = {
    "azure": Layout("TIMESTAMP", "ContextTokens", "GeneratedTokens", moment=True),
    "burstgpt": Layout("Timestamp", "Request tokens", "Response tokens"),
    "vidur": Layout("arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    "lengths": Layout(None, "num_prefill_tokens", "num_decode_tokens"),
}


@dataclass(frozen=True)
class Trace:
    """Requests as they arrive, the first at 0. failed: rows without an answer; long: of too many tokens."""

    requests: tuple[Request, ...]
    failed: int = 0
    long: int = 0


def read_trace(
    path: Path, layout: str, *, most_tokens: int | None = None, most: int | None = None, pace: float = 1.0
) -> Trace:
    """Read a trace. most_tokens: requests of more, prompt and answer together, are left out and counted; most: of rows
    that are used, the first; pace: times are divided by it.

    InputError says file, line and column; BadInput an unknown layout or a file of which nothing is left.
    """
    if layout not in FORMATS:
        raise BadInput(f"format: unknown format '{layout}'; allowed: {', '.join(FORMATS)}")
    if not 0 < pace < 1e9:
        raise BadInput(f"pace: {pace:g}; allowed: above 0")
    form = FORMATS[layout]
    columns = [name for name in (form.at, form.prompt, form.output) if name is not None]
    found: list[tuple[float, int, int]] = []
    failed = long = 0
    for row in read_rows(path, columns):
        at = 0.0 if form.at is None else _seconds(row, form.at, moment=form.moment)
        prompt, output = row.whole(form.prompt, 0, _MOST), row.whole(form.output, 0, _MOST)
        if prompt == 0 or output == 0:
            failed += 1
        elif most_tokens is not None and prompt + output > most_tokens:
            long += 1
        else:
            found.append((at, prompt, output))
            if len(found) == most:
                break
    if not found:
        raise BadInput(
            f"{path}: no request is left; {failed} without an answer, {long} of more than {most_tokens} tokens"
        )
    found.sort(key=lambda one: one[0])
    first = found[0][0]
    return Trace(
        tuple(Request(round((at - first) / pace * SECOND_NS), prompt, output) for at, prompt, output in found),
        failed,
        long,
    )


def _seconds(row: Row, column: str, *, moment: bool) -> float:
    if not moment:
        return row.number(column, 0, 1e12)
    text = row.text[column].strip()
    head, _, fraction = text.partition(".")  # Azure's has seven digits, which Python 3.10 does not read
    try:
        whole = (datetime.fromisoformat(head) - datetime(2000, 1, 1)).total_seconds()
        return whole + (float(f"0.{fraction}") if fraction else 0.0)
    except (ValueError, TypeError):
        raise row.error(column, "a date and time, as 2023-11-16 18:15:46.6805900") from None


__all__ = ["FORMATS", "InputError", "Layout", "Trace", "read_trace"]
