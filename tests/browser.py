"""A real browser without a window: Chromium, told what to do over the DevTools protocol, which aiohttp can speak.

with Browser.start(tmp_path) as browser:
    browser.open("http://127.0.0.1:8080/", width=1280, height=800)
    browser.wait("document.title != ''")
    browser.evaluate("document.title")
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
)
_START_S = 60.0
_ANSWER_S = 60.0


def program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One page. problems: what its console called an error, and what was refused to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._loop, self._socket = loop, socket
        self._number = 0
        self.problems: list[str] = []
        self.asked: list[str] = []  # every address that the page has loaded

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Iterator[Browser]:
        found = program()
        assert found is not None
        profile = Path(tempfile.mkdtemp(prefix="esa-browser-"))
        command = [found, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        loop = asyncio.new_event_loop()
        try:
            port = _port(profile, process)
            session, socket = loop.run_until_complete(_page(port))
            browser = cls(loop, socket)
            for domain in ("Page", "Runtime", "Network", "Log"):
                browser.call(f"{domain}.enable")
            yield browser
            loop.run_until_complete(socket.close())
            loop.run_until_complete(session.close())
        finally:
            process.kill()
            process.wait()
            loop.close()
            shutil.rmtree(profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), _ANSWER_S))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            told = await self._socket.receive_json()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        method, more = told.get("method"), told.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(str(more["exceptionDetails"].get("exception", more["exceptionDetails"])))
        elif method == "Log.entryAdded" and more["entry"]["level"] == "error":
            self.problems.append(f"{more['entry']['text']} {more['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(more["request"]["url"])

    def look(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Be a screen of so many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def open(self, address: str) -> None:
        """Anew, also where it is open."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 30.0) -> None:
        """Until what the script says is true."""
        end = time.monotonic() + seconds
        script = (
            f"(() => {{ try {{ return !!({script}) }} catch {{ return false }} }})()"  # the page may not be there yet
        )
        while not self.evaluate(script):
            assert time.monotonic() < end, f"not after {seconds:g} s: {script}; {self.problems}"
            time.sleep(0.1)

    def picture(self, path: Path, height: int | None = None) -> None:
        """Of the page from its top, so high; by default of what is on the screen."""
        clip = {}
        if height is not None:
            width = self.evaluate("innerWidth")
            clip = {
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
                "captureBeyondViewport": True,
            }
        told = self.call("Page.captureScreenshot", format="png", **clip)
        path.write_bytes(base64.b64decode(told["data"]))


def _port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    """The one that it listens on: it writes it down."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int((profile / "DevToolsActivePort").read_text().split()[0])
        time.sleep(0.05)
    raise AssertionError(f"the browser does not listen after {_START_S:g} s")


async def _page(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    for _ in range(100):
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        if pages:
            return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        await asyncio.sleep(0.05)
    raise AssertionError("the browser has no page")
