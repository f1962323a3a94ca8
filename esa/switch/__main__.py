"""`esa-switch`, also `python -m esa.switch`: one switch as a process."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import grpc
from pydantic import ValidationError

from esa import log
from esa.errors import BadInput
from esa.exits import exit_status
from esa.metrics import MetricsServer, check_address
from esa.net.impairment import PortFaults, first_error
from esa.startup import skip_scipy
from esa.switch.compiler.target import PASSES
from esa.switch.p4runtime.service import P4RuntimeServicer, start_server
from esa.switch.process.apart import compile_apart
from esa.switch.process.files import FileLoop
from esa.switch.process.link_state import LinkWatch
from esa.switch.process.options import LOG_LEVELS, Options, UsageError, parse
from esa.switch.process.populate import populate
from esa.switch.process.ports import PacketLoop
from esa.switch.process.real_time import may_go_first
from esa.switch.runtime.device import Device
from esa.switch.runtime.pipeline import Pipeline
from esa.switch.runtime.queue_settings import QueueSettings
from esa.switch.runtime.queues import warm

_log = logging.getLogger("esa.switch")
_PYTHON_LEVELS = dict(zip(LOG_LEVELS, (5, 10, 20, 30, 40, 100), strict=True))
# Where packets need Python, a control-plane thread may keep the loop from its next step for this long, of which a batch
# has several; Python's own 5 ms would be thousands of packets.
_SWITCH_INTERVAL_S = 0.00005
# New objects before the young are looked at; rounds of that before those that survived it; of that before all.
_GC_THRESHOLDS = (700, 3, 1_000_000)
_FAILED = 1
_LOOK_S = 0.5  # whether a signal has come


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a switch until SIGINT or SIGTERM; returns the exit status.

    0: it was stopped; 1: it failed while running; 2: bad input, which one line on standard error names.
    """
    return exit_status("esa-switch", _main, sys.argv[1:] if arguments is None else arguments)


def command() -> int:
    """The installed command: `main` in a process of its own."""
    skip_scipy()
    return main()


def _main(arguments: Sequence[str]) -> int:
    try:
        options = parse(arguments)
        _start_log(options)
        if options.metrics is not None:
            check_address(options.metrics)
        if options.real_time and not may_go_first():
            raise UsageError("--real-time: this user may not have that; root may, and who has CAP_SYS_NICE")
        credentials = _credentials(options)
        faults = None if options.faults is None else _read_faults(options.faults, options.interfaces)
        return _run(options, credentials, faults, _open_trace(options.trace))
    except OSError as error:
        raise BadInput(str(error)) from None


def _run(
    options: Options,
    credentials: grpc.ServerCredentials | None,
    faults: PortFaults | None,
    trace: Callable[[str], object] | None,
) -> int:
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _tame_garbage_collection()
    stop = threading.Event()
    failures: list[Exception] = []

    def on_failure(error: Exception) -> None:
        failures.append(error)
        stop.set()

    own = () if options.cpu_port is None else (options.cpu_port,)
    ports = (*options.interfaces, *own) if options.use_files is None else ()  # files have no queues
    queues = QueueSettings(ports, options.priority_queues, options.queues)
    device = Device(options.device_id, options.cpu_port, None, options.interfaces, queues, _tell)
    load = partial(_load, queues=queues, trace=trace)
    servicer = P4RuntimeServicer(device, load)
    loop: PacketLoop | FileLoop
    if options.use_files is not None:
        loop = FileLoop(
            device,
            options.interfaces,
            wait_s=options.use_files,
            dump_bytes=options.dump_packet_data,
            on_failure=on_failure,
        )
    else:
        loop = PacketLoop(
            device,
            options.interfaces,
            pcap=options.pcap,
            faults=faults,
            dump_bytes=options.dump_packet_data,
            real_time=options.real_time,
            on_failure=on_failure,
        )
    links = nullcontext() if options.use_files is not None else LinkWatch(options.interfaces, device.set_port)
    with contextlib.ExitStack() as stack:
        stack.enter_context(loop)
        stack.enter_context(links)
        if options.metrics is not None:
            from esa.switch.process import metrics

            read = partial(metrics.read, device, options.interfaces, loop.counters)
            _tell(stack.enter_context(MetricsServer(options.metrics, read)).announcement())
        if options.program is not None:
            servicer.expect()
        # Before the program is loaded: who starts a switch waits some seconds for its port, not for a compiler.
        server, port = start_server(servicer, options.grpc_address, credentials)
        if not options.ssl_client_auth and not _is_local(options.grpc_address):
            _tell(
                f"whoever reaches {options.grpc_address} controls this switch: --grpc-server-with-client-auth asks who"
            )
        try:
            if options.program is not None:
                _begin(options.program, servicer.begin)
            for stopping in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stopping, lambda *_: stop.set())
            print(_ready(options, port), flush=True)
            while not stop.wait(_LOOK_S):  # the kernel may give a signal to another thread, which wakes nobody here
                pass
        finally:
            server.stop(grace=0.2).wait()
    for error in failures:
        _log.critical("the packet loop failed", exc_info=error)
        print(f"esa-switch: the packet loop failed: {error}", file=sys.stderr)
    for number, counters in loop.counters().items():
        _log.info("port %d: %s", number, ", ".join(f"{name} {value}" for name, value in counters.items()))
    if device.pipeline is not None and device.pipeline.given_up:
        _tell(f"{device.pipeline.given_up} packets were given up after {PASSES} recirculations and resubmissions")
    if options.port_counters is not None:
        options.port_counters.write_text(json.dumps(loop.counters(), indent=2) + "\n")
    if faults is not None and faults.report is not None:
        Path(faults.report).write_text(json.dumps(loop.faults(), indent=2) + "\n")
    return _FAILED if failures else 0


def _is_local(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return address.startswith("unix:") or host in ("localhost", "::1") or host.startswith("127.")


def _ready(options: Options, port: int) -> str:
    address = options.grpc_address
    if not address.startswith("unix:"):
        address = f"{address.rpartition(':')[0]}:{port}"
    ports = " ".join(f"{number}@{name}" for number, name in options.interfaces.items()) or "none"
    return f"esa-switch: device {options.device_id} ready, P4Runtime at {address}, ports {ports}"


def _open_trace(path: Path | None) -> Callable[[str], object] | None:
    """What writes lines of traces."""
    if path is None:
        return None
    write: Callable[[str], object] = partial(print, end="", flush=True)
    if path != Path("-"):
        try:
            write = path.open("w", buffering=1).write
        except OSError as error:
            raise UsageError(f"cannot write the trace {path}: {error.strerror}") from None
    _tell("--trace: every packet goes the slow way, some hundred in a second")
    return write


def _load(program: bytes, *, queues: QueueSettings, trace: Callable[[str], object] | None) -> Pipeline:
    _log.info("loading a program of %d bytes", len(program))
    halves, priorities = queues.used, queues.priorities
    apart = partial(compile_apart, program, halves, priorities, _tell)
    pipeline = Pipeline.load(
        program, compiled=trace is None, progress=_tell, queues=halves, priorities=priorities, apart=apart
    )
    populate(pipeline.state.m64)
    if trace is not None:
        pipeline.trace_to(trace)
    if pipeline.halves is not None:
        warm(pipeline, pipeline.halves, type(pipeline.halves_state), _tell, apart)
    if _log.isEnabledFor(logging.INFO) and _goes_anywhere(_log):
        pipeline.on_message(partial(_log.info, "%s"))
    pipeline.on_failed = _Failed()
    gc.collect()  # the only one of everything, see _tame_garbage_collection
    _log.info("the program is loaded")
    return pipeline


def _goes_anywhere(logger: logging.Logger | None) -> bool:
    """Whether what a logger is told reaches more than handlers that do nothing."""
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent
    return False


class _Failed:
    """Tells of packets that fail an assert(): on standard error once, then to the log alone, as they may be many."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, text: str) -> None:
        (_log.warning if self._told else _tell)(text)
        self._told = True


def _tame_garbage_collection() -> None:
    """Keep the collector from looking at every entry of every table, which stops packets for tens of milliseconds."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _tell(progress: str) -> None:
    # Also without a log: a first start takes seconds, and whoever waits for it should know why.
    print(f"esa-switch: {progress}", file=sys.stderr, flush=True)
    _log.info("%s", progress)


def _begin(path: Path, begin: Callable[[bytes], None]) -> None:
    try:
        program = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the program {path}: {error.strerror}") from None
    try:
        begin(program)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"cannot run the program {path}: {error}") from None


def _read_faults(path: Path, interfaces: dict[int, str]) -> PortFaults:
    try:
        faults = PortFaults.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--faults: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise UsageError(f"--faults {path}: {first_error(error.errors())}") from None
    for port in faults.ports:
        if port not in interfaces:
            allowed = ", ".join(map(str, interfaces)) or "none without -i"
            raise UsageError(f"--faults {path}: ports.{port}: no such port; allowed: {allowed}")
    return faults


def _credentials(options: Options) -> grpc.ServerCredentials | None:
    if options.ssl_cert is None or options.ssl_key is None:
        return None
    from esa.certificates import CertificateError, read_authority, read_identity  # costs a start 40 ms

    option = "--grpc-server-cert and --grpc-server-key"
    try:
        identity = read_identity(options.ssl_cert, options.ssl_key)
        option = "--grpc-server-cacert"
        authority = None if options.ssl_cacert is None else read_authority(options.ssl_cacert)
    except CertificateError as error:
        raise UsageError(f"{option}: {error}") from None
    return grpc.ssl_server_credentials(
        [(identity.key, identity.cert)], root_certificates=authority, require_client_auth=options.ssl_client_auth
    )


def _start_log(options: Options) -> None:
    handlers: list[logging.Handler] = []
    if options.log_console:
        handlers.append(logging.StreamHandler(sys.stdout))
    if options.log_file is not None:
        try:
            handlers.append(logging.FileHandler(options.log_file))
        except OSError as error:
            raise UsageError(f"cannot write the log {options.log_file}: {error.strerror}") from None
    if options.pcap is not None and not (options.pcap.is_dir() and os.access(options.pcap, os.W_OK)):
        raise UsageError(f"--pcap {options.pcap}: a directory that exists and can be written is allowed")
    if not handlers:
        handlers.append(logging.NullHandler())
    logging.basicConfig(
        level=_PYTHON_LEVELS[options.log_level], format="%(asctime)s %(levelname)s %(message)s", handlers=handlers
    )
    log.begin()
    for option in options.ignored:
        _log.info("%s is accepted for compatibility and has no effect here", option)


if __name__ == "__main__":
    sys.exit(command())
