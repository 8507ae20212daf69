"""A real browser without a window, spoken to by its DevTools protocol."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


class Page:
    """One page of the browser."""

    def __init__(self, address: str):
        websocket = pytest.importorskip("websocket", reason="needs websocket-client")
        self._socket = websocket.create_connection(address, timeout=30)
        self._asked = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **options: Any) -> dict[str, Any]:
        """Call a method of the protocol; events that come meanwhile are kept."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": options}))
        while True:
            said = json.loads(self._socket.recv())
            if said.get("id") == self._asked:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)

    def js(self, code: str) -> Any:
        """The value of an expression."""
        found = self.do("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, file: Path) -> None:
        """Load a file and wait until it is there."""
        self.do("Page.navigate", url=file.resolve().as_uri())
        self.until("document.readyState === 'complete' && !!document.querySelector('main')")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        for _ in range(200):
            if self.js(condition):
                return
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}")

    def width(self, pixels: int) -> None:
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=pixels, height=844, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                    windowsVirtualKeyCode=code, **typed)  # fmt: skip


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A fresh browser with an empty page; the test is skipped where there is none."""
    command = next(filter(None, map(shutil.which, NAMES)), None)
    if command is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    process = subprocess.Popen(
        [command, *FLAGS, f"--user-data-dir={folder}", "about:blank"], stderr=subprocess.DEVNULL
    )
    try:
        yield Page(_address(folder))
    finally:
        process.terminate()
        process.wait(10)


def _address(folder: Path) -> str:
    from urllib.request import urlopen

    for _ in range(300):
        with contextlib.suppress(OSError, IndexError, ValueError, StopIteration):
            port = (folder / "DevToolsActivePort").read_text().split()[0]
            with urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                pages = json.load(answer)
            return next(p for p in pages if p["type"] == "page")["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise AssertionError("the browser did not start")
