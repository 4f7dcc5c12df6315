"""A headless Chromium with an empty profile that tells which hosts it asked."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from tests.orchestration.stack_process import wait_until

QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--no-first-run")
HELP_WITH_FORMS = "AutofillServerCommunication"  # the browser's: asks its makers about every page with a form
SETTLED_SECONDS = 2.0


def program() -> str | None:
    """The program of this machine, None for none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


class Page:
    """The one page that is open."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last = 0
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something and wait until it is done."""
        self._last += 1
        self._connection.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
            if message.get("id") == self._last:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def open(self, url: str, awaited: str) -> None:
        """Go to an address and wait until the page shows this text, and for a moment longer."""
        self.call("Page.navigate", url=url)
        self.await_text(awaited)

    def await_text(self, awaited: str) -> None:
        """Wait until the page shows this text, and for what it asks after that."""
        wait_until(lambda: awaited in self.text)
        time.sleep(SETTLED_SECONDS)

    def type(self, selector: str, text: str) -> None:
        """Type into the first field that the selector finds, and press Enter."""
        wait_until(lambda: self.evaluate(f"!!document.querySelector({selector!r})"))
        self.evaluate(f"document.querySelector({selector!r}).focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    def click(self, text: str) -> None:
        """Press the first button with this text."""
        found = f"[...document.querySelectorAll('button,a')].find(each => each.innerText.trim() === {text!r})"
        wait_until(lambda: self.evaluate(f"!!{found}"))
        self.evaluate(f"{found}.click()")

    def picture(self, path: Path) -> None:
        """Write what a person sees."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser that keeps its profile and its log of the network in `folder`, which is empty."""
    executable = program()
    assert executable is not None
    command = [executable, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1400,1000", f"--log-net-log={folder / 'net.json'}", *QUIET]
    command.append(f"--disable-features={HELP_WITH_FORMS}")
    if os.getuid() == 0:
        command.append("--no-sandbox")  # which Chromium does not have for root
    with subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            written = folder / "profile" / "DevToolsActivePort"
            port, path = wait_until(
                lambda: written.exists() and len(lines := written.read_text().split()) == 2 and lines
            )
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as whole:
                targets = _asked(whole, "Target.getTargets")["targetInfos"]
                (target,) = [each["targetId"] for each in targets if each["type"] == "page"]
            with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None) as connection:
                page = Page(connection)
                yield page
                page.call("Browser.close")
            process.wait(timeout=60)
        finally:
            process.kill()


def _asked(connection: ClientConnection, method: str) -> dict[str, Any]:
    connection.send(json.dumps({"id": 0, "method": method}))
    result: dict[str, Any] = json.loads(connection.recv(timeout=60))["result"]
    return result


def hosts_asked(folder: Path, pages: str) -> set[str]:
    """All hosts of which pages of the host `pages` asked anything, or whose address they looked up.

    To be called once the browser has ended. What it asks on its own behalf, of its makers, is not counted.
    """
    events = json.loads((folder / "net.json").read_text())["events"]
    said = [event["params"] for event in events if "params" in event]
    on_behalf = ("initiator", "network_isolation_key", "network_anonymization_key")
    by_pages = [each for each in said if any(pages in str(each.get(name, "")) for name in on_behalf)]
    asked = [str(each[name]) for each in by_pages for name in ("url", "host") if name in each]
    return {str(urlsplit(each if "//" in each else f"//{each}").hostname) for each in asked} - {"None"}
