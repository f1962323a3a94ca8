"""`python -m esa.hosts server --job job.json [--controller ADDRESS] [--stats stats.json]`: a PS process.

`python -m esa.hosts warm` compiles the packet loops of workers and PSs for this machine, if that was not done yet.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from esa import log
from esa.errors import BadInput, EsaError
from esa.exits import exit_status
from esa.hosts.membership import say
from esa.hosts.serving import JobServer
from esa.hosts.warm import warm
from esa.job import Job
from esa.metrics import MetricsServer, check_address
from esa.net.impairment import LinkFaults
from esa.protocol.timers import Timers
from esa.startup import skip_scipy

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOOK_S = 0.5  # how often to see whether the engine lives
_TIMERS = TypeAdapter(Timers)


class ServingError(EsaError, RuntimeError):
    """The PS's socket failed; one line."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or compile; returns 0, or 2 if it cannot start, 1 if the socket failed."""
    parser = argparse.ArgumentParser(prog="python -m esa.hosts", description="End hosts of a job.")
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("warm", help="compile the packet loops, once per machine")
    server = commands.add_parser("server", help="run the job's PS")
    server.add_argument("--job", type=Path, required=True, help="the job's JSON file")
    server.add_argument("--controller", help="where runs are started, HOST:PORT or unix:PATH; default: ESA_CONTROLLER")
    server.add_argument("--stats", type=Path, help="where to write what happened, at the end")
    server.add_argument("--faults", type=Path, help="what its link does to packets on purpose: a JSON file")
    server.add_argument(
        "--timers", type=Path, help="when it asks again: a JSON file, the fields of esa.protocol.Timers"
    )
    server.add_argument("--metrics", metavar="HOST:PORT", help="offer its counts to Prometheus there")
    options = parser.parse_args(arguments)
    return exit_status("esa.hosts", _warm if options.command == "warm" else _serve, options)


def begin(*arguments: str) -> int:
    """As `main`, for who forks a process for it."""
    return main(list(arguments))


def _warm(_options: argparse.Namespace) -> None:
    def say(done: int, parts: int) -> None:
        print(f"compiling the packet loops for this machine, once: {done} of {parts}", flush=True)

    try:
        warm(say)
    except OSError as error:
        raise BadInput(str(error)) from None


def _serve(options: argparse.Namespace) -> None:
    told_to_end = threading.Event()
    before = {number: signal.signal(number, lambda *_: told_to_end.set()) for number in _SIGNALS}
    try:
        _serve_until(told_to_end, options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve_until(told_to_end: threading.Event, options: argparse.Namespace) -> None:
    log.begin()
    if options.metrics is not None:
        check_address(options.metrics)
    try:
        faults = None if options.faults is None else LinkFaults.model_validate_json(options.faults.read_text())
        timers = None if options.timers is None else _TIMERS.validate_json(options.timers.read_text())
        endpoint = JobServer(Job.load(options.job), options.controller, faults=faults, timers=timers)
    except (OSError, ValidationError, EsaError) as error:
        raise BadInput(" ".join(str(error).split())) from None
    with contextlib.ExitStack() as stack:
        if options.metrics is not None:
            from esa.hosts.metrics import read_server

            offered = stack.enter_context(MetricsServer(options.metrics, lambda: read_server(endpoint)))
            say(offered.announcement())
        print("ready", flush=True)
        while endpoint.alive and not told_to_end.wait(_LOOK_S):
            pass
    if options.stats is not None:
        options.stats.write_text(json.dumps(endpoint.stats() | {"faults": endpoint.faults()}, indent=2) + "\n")
    try:
        endpoint.close()
        if endpoint.problem is not None:
            raise endpoint.problem
    except OSError as error:
        raise ServingError(str(error)) from None


if __name__ == "__main__":
    skip_scipy()
    sys.exit(main())
