"""An HTTP server of one page: the metrics, as they are when it is asked for."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from esa.errors import BadInput
from esa.metrics.families import COUNTER, Family, Sample

Read = Callable[[], Iterable[Sample]]
DESCRIPTOR = "fd:"  # a socket that listens already, made by who started this process
_QUEUED = 16  # connections that may wait


def check_address(address: str) -> None:
    """BadInput unless metrics could be offered there, as far as that is known beforehand: HOST:PORT, or fd:N."""
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdecimal() or int(port) > 65535:
        raise BadInput(f"metrics: '{address}'; allowed: HOST:PORT, say 127.0.0.1:9100")
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise BadInput("metrics: need the package prometheus-client: pip install 'esa[metrics]'") from None


def next_addresses(address: str, count: int) -> list[str]:
    """Return HOST:PORT and the same host's next ports, `count` in all. BadInput, as `check_address`."""
    check_address(address)
    host, _, first = address.rpartition(":")
    if int(first) + count - 1 > 65535:
        raise BadInput(f"metrics: '{address}' and the next {count - 1} ports; allowed: up to port 65535")
    return [f"{host}:{port}" for port in range(int(first), int(first) + count)]


class MetricsServer:
    """Answers every GET with what `read` yields then, in a thread of its own, until it is closed. BadInput.

    address: HOST:PORT, port 0: any; `url` says which. One request is answered at a time: `read` need not be
    thread-safe. What it raises becomes the answer's status 500 and a line on standard error, and nothing else.
    """

    def __init__(self, address: str, read: Read) -> None:
        check_address(address)
        from http.server import HTTPServer

        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import MetricsHandler

        registry = CollectorRegistry()
        registry.register(_Collector(read))
        ProcessCollector(registry=registry)
        self._server = HTTPServer(("", 0), MetricsHandler.factory(registry), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = _listening(address)
        host, port = self._server.socket.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
        self.is_local = host.startswith("127.") or host == "::1"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def announcement(self) -> str:
        """What a person should know, in one line."""
        open_to_all = "" if self.is_local else ", to whoever reaches this machine"
        return f"metrics at {self.url}{open_to_all}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Collector:
    """Samples in the form of prometheus_client."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def describe(self) -> list[Any]:
        """Nothing: else they would be read once beforehand."""
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        found: dict[Family, Any] = {}
        try:
            for family, value, labels in self._read():
                if family not in found:
                    if family.is_counter:
                        name = family.name.removesuffix(COUNTER)
                        found[family] = CounterMetricFamily(name, family.help, labels=family.labels)
                    else:
                        found[family] = GaugeMetricFamily(family.name, family.help, labels=family.labels)
                found[family].add_metric(labels, value)
        except Exception as error:
            print(f"esa: metrics: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            raise
        yield from found.values()


def _listening(address: str) -> socket.socket:
    if address.startswith(DESCRIPTOR):
        try:
            return socket.socket(fileno=int(address.removeprefix(DESCRIPTOR)))
        except OSError as error:
            raise BadInput(f"metrics: {address} is no socket: {error.strerror}") from None
    return listening(address)


def listening(address: str, option: str = "metrics") -> socket.socket:
    """Return a socket that listens at HOST:PORT. BadInput, which calls it by the option that it comes from."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise BadInput(f"{option}: '{address}'; allowed: HOST:PORT, say 127.0.0.1:9100")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(where)
            found.listen(_QUEUED)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise BadInput(f"{option}: cannot listen at {address}: {error.strerror}") from None
    return found
