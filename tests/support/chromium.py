"""A headless Chromium that is driven through its DevTools protocol, over a pair of pipes: no port, no network."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.parts import require_tool

_COMMAND_FD, _ANSWER_FD = 3, 4
_OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-component-update", "--disable-background-networking", "--disable-sync",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class ChromiumError(Exception):
    """Chromium refused a command."""


class Page:
    """A tab that shows one file. Every request for anything else is in `requests`."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._rest = commands, answers, b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.log: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        raw = memoryview(json.dumps(message).encode() + b"\0")
        while raw:
            raw = raw[os.write(self._commands, raw) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise ChromiumError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise ChromiumError("Chromium ended")
            self._rest += part
        raw, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        if message.get("method") == "Log.entryAdded":
            self.log.append(parameters["entry"]["text"])
        return message

    def wait_for(self, method: str) -> None:
        """Wait for an event."""
        while self._next().get("method") != method:
            pass

    def open(self, path: Path) -> None:
        """Show a file, in a new tab."""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show the page on a screen of this size, with a light or dark theme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])

    def evaluate(self, script: str) -> Any:
        """Return the JSON value of an expression, or of its promise."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise ChromiumError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def pdf(self) -> bytes:
        """Return what is printed, on the paper that the page asks for."""
        self.call("Emulation.setEmulatedMedia", media="")
        found = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(found["data"])


@contextmanager
def start_chromium(folder: Path) -> Iterator[Page]:
    """A Chromium of its own, with its profile in `folder`; it ends with the block."""
    program = require_tool("chromium")
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    # Chromium takes its commands from descriptor 3 and answers on 4: the shell moves the pipes there
    script = f'exec {_COMMAND_FD}<&"$1" {_ANSWER_FD}>&"$2"; shift 2; exec "$@"'
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", str(command_read), str(answer_write), program, *_OPTIONS,
         f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(command_read, answer_write), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    os.close(command_read)
    os.close(answer_write)
    page = Page(command_write, answer_read)
    try:
        yield page
        page._session = None
        with suppress(ChromiumError, OSError):
            page.call("Browser.close")
    finally:
        os.close(command_write)
        os.close(answer_read)
        process.terminate()
        process.wait()
        log.close()
        shutil.rmtree(folder / "profile", ignore_errors=True)
