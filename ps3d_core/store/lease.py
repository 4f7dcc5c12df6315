"""One run at a time: who works on a result folder says so beside it, and goes on saying so.

A lease is one small file with the owner and a time. Its owner renews it while alive; one that was not renewed for
`STALE_SECONDS` belongs to a dead run and may be taken over. On the owner's own machine the process table answers at
once, so a run that was killed can be started again immediately. Stores need no locking for this: whoever writes last
has the lease, and looks after a moment whether that was itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psutil

from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.store.location import Location

RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
SETTLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds a lease."""

    token: str
    host: str
    pid: int
    started: float
    """When the process was created, seconds since 1970; tells it from a later one with the same number."""
    renewed: float
    """Last sign of life, seconds since 1970."""

    @property
    def is_alive(self) -> bool:
        """False when the process is known to be gone, or was silent for too long."""
        if self.host == socket.gethostname():
            try:
                return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1)
            except psutil.NoSuchProcess:
                return False
        return time.time() - self.renewed < STALE_SECONDS


@contextmanager
def sole_run(place: Location, what: str) -> Iterator[None]:
    """Hold the lease at `place` while the body runs; `InputError` when another living run, of `what`, holds it."""
    token = uuid.uuid4().hex
    other = _owner(place)
    if other is not None and other.is_alive:
        raise _taken(other, what)
    _write(place, token)
    time.sleep(SETTLE_SECONDS)
    holder = _owner(place)
    if holder is not None and holder.token != token:
        raise _taken(holder, what)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(place, token, ended), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        holder = _owner(place)
        if holder is not None and holder.token == token:
            place.remove_tree()


def _renew(place: Location, token: str, ended: threading.Event) -> None:
    while not ended.wait(RENEW_SECONDS):
        # A store that fails for a while ends the work itself, if it does not recover; not this sign of life.
        with contextlib.suppress(OSError):
            _write(place, token)


def _write(place: Location, token: str) -> None:
    started = psutil.Process().create_time()
    place.write_json(asdict(Owner(token, socket.gethostname(), os.getpid(), started, time.time())))


def _owner(place: Location) -> Owner | None:
    """Who holds the lease; None when nobody does, or when the file says nothing sensible."""
    try:
        content = place.read_json()
        return Owner(
            str(content["token"]),
            str(content["host"]),
            int(content["pid"]),
            float(content["started"]),
            float(content["renewed"]),
        )
    except (Ps3dError, KeyError, TypeError, ValueError):
        return None


def _taken(owner: Owner, what: str) -> InputError:
    silent = max(0.0, time.time() - owner.renewed)
    return InputError(
        f"{what}: process {owner.pid} on {owner.host} is working on it (last sign of life {silent:.0f} s ago); wait "
        "until it ends, or stop it and give the command again"
    )
