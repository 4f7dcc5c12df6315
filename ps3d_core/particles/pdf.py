"""A page on paper: printed to PDF by a browser that is there, without showing itself, going online or knowing the user.

Any browser of the Chromium family can; none is brought along. The page forbids itself scripts and what lies elsewhere,
and the browser gets no network. A PDF is a copy of the page: nothing depends on it, and no run fails for want of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Final, Literal

from ps3d_core.errors import Ps3dError
from ps3d_core.interrupts import interrupts_held
from ps3d_core.store.deriving import deriving
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import publish

Paper = Literal["A4", "Letter"]
PAPERS: Final[tuple[Paper, ...]] = ("A4", "Letter")
SECONDS: Final = 120
"""A page takes seconds; a browser that hangs is ended."""

BROWSERS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
    "brave-browser",
)
_MAC: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
_QUIET: Final = (
    "--headless=new",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
    "--no-pdf-header-footer",
)


class NoPdfError(Ps3dError):
    """No PDF was made: there is no browser, or it did not print; the message says what to do."""


def find_browser() -> str | None:
    """Return the path of a browser that can print, None when there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)
    return found or next((path for path in _MAC if Path(path).exists()), None)


def print_page(page: Location, pdf: Location, paper: Paper = "A4") -> None:
    """Print the HTML file `page` to `pdf`, on any store.

    Raise `NoPdfError` in one line when it could not be printed; nothing is left behind then.
    """
    if (browser := find_browser()) is None:
        raise NoPdfError("no browser to print with; install chromium, Google Chrome or Microsoft Edge")
    with tempfile.TemporaryDirectory(prefix="ps3d-print-", ignore_cleanup_errors=True) as folder:
        source, target = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_bytes(_on_paper(page.read_bytes(), paper))
        _run(browser, source, target, Path(folder))
        with deriving(page, [pdf]):
            publish(pdf, target)


def _on_paper(page: bytes, paper: Paper) -> bytes:
    """The page with the size of its sheets: it does not say one itself, since that is for whoever prints to say."""
    return page.replace(b"</head>", f"<style>@page {{ size: {paper}; }}</style></head>".encode(), 1)


def _run(browser: str, source: Path, target: Path, folder: Path) -> None:
    # Chromium does not start with its sandbox as root; the page may run no script that had to be kept in one.
    as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    profile = [f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={target}"]
    command = [browser, *_QUIET, *as_root, *profile, source.as_uri()]
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
    log = folder / "log.txt"
    try:
        with log.open("wb") as said:
            status = _ended(command, environment, said)
    except subprocess.TimeoutExpired as error:
        raise NoPdfError(f"{browser}: did not print within {SECONDS} s; print the page from a browser") from error
    except OSError as error:
        raise NoPdfError(f"{browser}: cannot be started ({error.strerror}); print the page from a browser") from error
    if status or not target.is_file() or not target.read_bytes().startswith(b"%PDF"):
        lines = log.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {status}"]
        raise NoPdfError(f"{browser}: did not print ({lines[0][:200]!r}); print the page from a browser")


def _ended(command: list[str], environment: Mapping[str, str], said: IO[bytes]) -> int:
    """Run a browser and return its exit status; what it started is ended with it, a script's browser, too.

    It writes into a file: a process that is left over would keep a pipe open, and whoever reads that would wait.
    """
    with ExitStack() as stack:
        with interrupts_held():
            process = subprocess.Popen(  # noqa: S603  (the browser found on PATH, and paths that were made here)
                command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
            stack.callback(_end, process)
        return process.wait(SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
