"""The dashboard's HTTP server: its own files, and what `folders.py` says of the runs that it was given. Nothing else.

    serve(Runs([Path("results")], deeper), "127.0.0.1:8080", say)      # until interrupted

Runs are numbers in its addresses, files are names from a list that is made at the start: nothing that is asked for
becomes part of a path. It answers GET alone, and on loopback only to who calls it by a name of this machine, so that no
page from elsewhere can read it by a name of its own (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import mimetypes
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from esa.dashboard.folders import UNDER_WAY, Runs, ShownRun
from esa.metrics.serving import listening

LOOK_S = 0.5  # between two looks at a run that is under way
PATIENCE_S = 20.0  # without news, after which a connection is told that it is still there
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def static_files() -> dict[str, bytes]:
    """The page's files, by name."""
    return {one.name: one.read_bytes() for one in (resources.files("esa.dashboard") / "static").iterdir()}


class Dashboard:
    """What is asked, and answered. local: it listens on loopback."""

    def __init__(self, runs: Runs, *, local: bool) -> None:
        self._runs, self._local = runs, local
        self._files = static_files()
        runs.look()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded])
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name}", self._file)
        app.router.add_get("/api/runs", self._list)
        for what in ("view", "memory", "fragment"):
            app.router.add_get(f"/api/runs/{{run:\\d{{1,6}}}}/{what}", getattr(self, f"_{what}"))
        app.router.add_get("/api/runs/{run:\\d{1,6}}/events", self._events)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._local and not is_this_machine(request.host):
            return web.json_response({"failed": "host: not this machine's name"}, status=403, headers=_HEADERS)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return web.json_response({"failed": error.reason}, status=error.status, headers=_HEADERS)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._files["index.html"], content_type="text/html", charset="utf-8")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8")

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        runs = await asyncio.to_thread(lambda: [{"id": number, **run.brief()} for number, run in self._runs.look()])
        return _json({"runs": runs, "problems": self._runs.problems})

    async def _view(self, request: web.Request) -> web.StreamResponse:
        return _json(await asyncio.to_thread(self._run(request).view))

    async def _memory(self, request: web.Request) -> web.StreamResponse:
        after = _number(request, "after", 0)
        return _json(await asyncio.to_thread(self._run(request).memory, after))

    async def _fragment(self, request: web.Request) -> web.StreamResponse:
        job, seq = request.query.get("job", "")[:200], _number(request, "seq", None)
        return _json(await asyncio.to_thread(self._run(request).fragment, job, seq))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The view, whenever it is another one, as server-sent events, until the run is over."""
        run = self._run(request)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        last, quiet_s = "", 0.0
        while True:
            view = await asyncio.to_thread(run.view)
            text = json.dumps(view, allow_nan=False)
            if text != last or quiet_s > PATIENCE_S:
                await response.write(f"data: {text}\n\n".encode() if text != last else b": still here\n\n")
                last, quiet_s = text, 0.0
            if view["state"] != UNDER_WAY:
                await response.write(b"event: over\ndata: {}\n\n")
                return response
            await asyncio.sleep(LOOK_S)
            quiet_s += LOOK_S

    def _run(self, request: web.Request) -> ShownRun:
        try:
            return self._runs[int(request.match_info["run"])]
        except IndexError:
            raise web.HTTPNotFound(reason="no such run") from None


def is_this_machine(host: str) -> bool:
    """Whether what a browser called us by is a loopback address or its name."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def serve(runs: Runs, address: str, say: Callable[[str], None]) -> None:
    """Serve until interrupted. BadInput if it cannot listen there. say: told where, in one line."""
    socket = listening(address, "listen")
    host, port = socket.getsockname()[:2]
    local = ipaddress.ip_address(host).is_loopback
    shown = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    say(f"dashboard at {shown}{'' if local else ', to whoever reaches this machine'}; Ctrl-C ends it")
    try:
        asyncio.run(_serve(Dashboard(runs, local=local), socket))
    finally:
        runs.close()


async def _serve(dashboard: Dashboard, socket: Any) -> None:
    runner = web.AppRunner(dashboard.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.SockSite(runner, socket).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _number(request: web.Request, name: str, default: int | None) -> int:
    text = request.query.get(name, "")
    if not text and default is not None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise web.HTTPBadRequest(reason=f"{name}: allowed: a whole number")
    return int(text)


def _json(value: Any) -> web.Response:
    response = web.json_response(text=json.dumps(value, allow_nan=False))
    response.enable_compression()
    return response
