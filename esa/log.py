"""Logs by area, asked for by ESA_LOG=AREA[:LEVEL],...: a line per event, made for programs and people.

    ESA_LOG=protocol:debug,controller esa launch train.py

    _log = area("hosts")
    event(_log, INFO, "a run begins", job="mlp", epoch=7)
    # time=2026-11-26T09:00:01.123Z level=info area=hosts job=mlp epoch=7 msg="a run begins"

The loggers are Python's own, `esa.AREA`; without ESA_LOG nothing is written, and whoever embeds this adds handlers of
his own. An event's fields are the record's `esa`, a dict.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from typing import TextIO

from esa.errors import BadInput

VARIABLE = "ESA_LOG"
AREAS = {
    "protocol": "every packet of workers and PSs, and twice a second what they have counted; level debug",
    "hosts": "runs that are joined and left, what is waited for, packets of other runs",
    "switch": "programs, ports, messages of the program (log_msg)",
    "controller": "jobs, runs, policies and rows on switches; switches that were restored",
}
ALL = "all"
LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}
logging.getLogger("esa").addHandler(logging.NullHandler())  # else Python itself writes warnings that nobody handles
_PLAIN = re.compile(r"[\w.:/@+-]+")


def area(name: str) -> logging.Logger:
    """Return the logger of one of AREAS."""
    return logging.getLogger(f"esa.{name}")


def event(logger: logging.Logger, level: int, text: str, **fields: object) -> None:
    """Log an event with its fields, such as job, epoch, rank, seq; None: not known, left out."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", text, extra={"esa": {k: v for k, v in fields.items() if v is not None}})


def begin(given: str | None = None, stream: TextIO | None = None) -> None:
    """Write what ESA_LOG (or `given`) asks for on standard error (or `stream`). BadInput, one line. Again: anew."""
    text = os.environ.get(VARIABLE, "") if given is None else given
    wanted = parse(text)
    for name in AREAS:
        logger = area(name)
        for handler in [handler for handler in logger.handlers if isinstance(handler, _Handler)]:
            logger.removeHandler(handler)
        if name in wanted:
            logger.setLevel(wanted[name])
            handler = _Handler(stream or sys.stderr)
            handler.setLevel(wanted[name])
            handler.setFormatter(Logfmt())
            logger.addHandler(handler)


def parse(text: str) -> dict[str, int]:
    """Return the level of each area that AREA[:LEVEL],... asks for; `all` is every area. BadInput."""
    wanted: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, level = part.partition(":")
        if name not in (*AREAS, ALL):
            raise BadInput(f"{VARIABLE}: no area '{name}'; allowed: {', '.join((*AREAS, ALL))}, as in protocol:debug")
        if colon and level not in LEVELS:
            raise BadInput(f"{VARIABLE}: {name}: no level '{level}'; allowed: {', '.join(LEVELS)}")
        for one in AREAS if name == ALL else (name,):
            wanted[one] = LEVELS[level or "info"]
    return wanted


class Logfmt(logging.Formatter):
    """A record as key=value pairs; what is not plain is quoted as in JSON, so that a line stays one."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "area": record.name.removeprefix("esa."),
            **getattr(record, "esa", {}),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


class _Handler(logging.StreamHandler[TextIO]):
    """One of ours, so that `begin` finds it again."""


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
