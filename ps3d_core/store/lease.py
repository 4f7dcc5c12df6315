"""One run at a time: who works on a result folder says so beside it, and goes on saying so.

The signs are numbered files, and the highest number counts. To take over, a run creates the next number, which a
store lets only one of several do, so that two never both believe to have it. The owner renews its file while it
lives, and marks it as free at its end; numbers do not go back, so that a slow taker cannot mistake a new owner for the
one it saw. Where no sign may stay, beside an output of a moment's work, the owner removes it at the end; numbers begin
again then, and whoever finds another new sign beside the one it has just made steps back.

Whether an owner lives is never judged by comparing clocks of two machines: on the owner's own machine the process
table knows that one is dead, else the file is watched for `STALE_SECONDS`. A run that lost its place, because it was
suspended or cut off for that long, notices with its next renewal and stops before its next block; so do those who work
for it in other processes and on other machines.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from ps3d_core.errors import InputError, MissingDataError, Ps3dError
from ps3d_core.store.location import Location

RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0
WITHDRAW_SECONDS = 0.3
"""In which somebody who took a number in vain has given it back."""
LOOK_SECONDS = 2.0
CLOCKS_SECONDS = 3600.0
"""How far the clocks of two machines may be apart where nobody can watch and wait."""
PATIENCE_SECONDS = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds a lease, as its file says."""

    token: str
    machine: str
    """Host name, and what tells the process table there from any other."""
    pid: int
    started: float
    """When the process was created, seconds since its machine was; tells it from a later one with the same number."""
    renewed: float
    """Last sign of life, seconds since 1970, by the owner's clock."""
    free: bool = False
    """The run has ended, and anyone may take the next number."""

    @property
    def is_here(self) -> bool:
        """Return whether the owner is a process of this machine, so that its signs of life can be judged from here."""
        return self.machine == _this_machine()

    @property
    def is_running(self) -> bool:
        """Return whether the owner, a process of this machine, is still there."""
        try:
            process = psutil.Process(self.pid)
            # One that is dead and its parent has not looked yet is gone, too.
            return process.status() != psutil.STATUS_ZOMBIE and abs(_started(process) - self.started) < 1
        except psutil.NoSuchProcess:
            return False

    @property
    def lives_here(self) -> bool:
        """Return whether the owner, a process of this machine, is still there and renews its lease."""
        return self.is_running and time.time() - self.renewed < STALE_SECONDS


@dataclass(frozen=True, slots=True)
class Mark:
    """Number of a lease that a run took in a folder."""

    place: Location
    number: int
    what: str
    """What is worked on, for messages."""
    token: str
    """Of the run itself: somebody may have removed its signs, and numbers began again."""

    @property
    def is_overtaken(self) -> bool:
        """Return whether another run has taken a later number of the lease, or has done so and ended."""
        if self._is_last():
            return False
        time.sleep(WITHDRAW_SECONDS)
        return not self._is_last()

    def _is_last(self) -> bool:
        if max(_numbers(self.place), default=0) != self.number:
            return False
        owner = _read_owner(_file(self.place, self.number))
        return owner is None or owner.token == self.token


class LeaseLostError(Ps3dError):
    """Another run took over, because this one had shown no life for too long."""


class LeaseTakenError(InputError):
    """Another living run has the lease."""


class _Lease:
    """The number that this run holds."""

    def __init__(self, mark: Mark, owner: Owner, *, tidy: bool) -> None:
        self.mark, self._owner, self._tidy = mark, owner, tidy
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def start(self) -> None:
        for number in _numbers(self.mark.place):
            file = _file(self.mark.place, number)
            if number < self.mark.number and _read_owner(file) is not None:  # else it is no sign of ours
                file.remove_tree()
        self._renewing.start()

    def require(self) -> None:
        """Raise `LeaseLostError` once another run has taken over."""
        if self._lost.is_set():
            raise _lost(self.mark)

    def confirm(self) -> None:
        """Look at the store, then raise `LeaseLostError` when another run has taken over."""
        if self.mark.is_overtaken:
            self._lost.set()
        self.require()

    def end(self) -> None:
        self._ended.set()
        self._renewing.join()
        if not self._lost.is_set():
            # A store that fails just now must not hide how the run ended; what is not renewed goes stale by itself.
            with contextlib.suppress(OSError, Ps3dError):
                if self._tidy:
                    self._remove()
                else:
                    self._write(free=True)

    def _remove(self) -> None:
        _file(self.mark.place, self.mark.number).remove_tree()
        if (path := self.mark.place.local_path) is not None:
            path.rmdir()

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            # A store that fails for a while ends the work itself, if it does not recover; not this sign of life.
            with contextlib.suppress(OSError, Ps3dError):
                if self.mark.is_overtaken:
                    self._lost.set()
                    return
                self._write(free=False)

    def _write(self, *, free: bool) -> None:
        owner = replace(self._owner, renewed=time.time(), free=free)
        _file(self.mark.place, self.mark.number).write_json(asdict(owner))


class _Watch:
    """A lease that another process holds, for one that works for it: looks at the store from time to time."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self._looked = time.monotonic()

    def require(self) -> None:
        """Raise `LeaseLostError` once another run has taken over."""
        if time.monotonic() - self._looked > RENEW_SECONDS:
            self._looked = time.monotonic()
            self.confirm()

    def confirm(self) -> None:
        """Look at the store at once, and raise `LeaseLostError` when another run has taken over."""
        if self.mark.is_overtaken:
            raise _lost(self.mark)


_held: ContextVar[_Lease | _Watch | None] = ContextVar("lease", default=None)


@contextmanager
def sole_run(place: Location, what: str, say: Say = lambda text: None, *, tidy: bool = False) -> Iterator[None]:
    """Hold the lease in the folder `place` while the body runs.

    Args:
        place: folder of the numbered files.
        what: what is worked on, for messages.
        say: told when a minute's watch begins, because the last owner ran on another machine or stands still.
        tidy: leave no sign at the end; for work of moments or minutes.

    Raises:
        LeaseTakenError: another living run has it.

    """
    lease = _take(place, what, say, tidy=tidy)
    lease.start()
    before = _held.set(lease)
    try:
        yield
    finally:
        _held.reset(before)
        lease.end()


def is_held(place: Location) -> bool:
    """Return whether a run seems to hold the lease in the folder `place`, at once and without taking anything.

    A run on another machine that did not say that it ended counts as dead only after an hour without a sign of life.
    """
    last = max(_numbers(place), default=0)
    owner = _read_owner(_file(place, last)) if last else None
    if owner is None or owner.free:
        return False
    return owner.lives_here if owner.is_here else time.time() - owner.renewed < CLOCKS_SECONDS


def forget_ended(place: Location) -> None:
    """Remove the folder `place` when all runs that it speaks of have ended."""
    owners = [_read_owner(_file(place, number)) for number in _numbers(place)]
    if all(owner is not None and owner.free for owner in owners):
        for number in _numbers(place):
            _file(place, number).remove_tree()
        if (path := place.local_path) is not None:
            with contextlib.suppress(OSError):
                path.rmdir()


@contextmanager
def in_turn(place: Location, what: str, say: Say = lambda text: None, *, tidy: bool = False) -> Iterator[None]:
    """Hold the lease in the folder `place` while the body runs, after waiting for others that hold it.

    For work of a moment. Arguments are those of `sole_run`. Raise `LeaseTakenError` when it is not free after
    `PATIENCE_SECONDS`.
    """
    say_once = functools.cache(say)
    give_up = time.monotonic() + PATIENCE_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(sole_run(place, what, say_once, tidy=tidy))
                break
            except LeaseTakenError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(random.uniform(0.02, 0.2))  # noqa: S311
        yield


def require_lease() -> None:
    """Raise `LeaseLostError` when the run that this is part of has been taken over by another one, as far as is known.

    Costs nothing, so that it can be asked often; `confirm_lease` looks at the store.
    """
    lease = _held.get()
    if lease is not None:
        lease.require()


def confirm_lease() -> None:
    """Raise `LeaseLostError` when the run that this is part of has been taken over by another one."""
    lease = _held.get()
    if lease is not None:
        lease.confirm()


def holds_lease() -> bool:
    """Return whether the run that this is part of still has its lease, after a look at the store.

    True also for a run without a lease; False when the store fails.
    """
    try:
        confirm_lease()
    except (LeaseLostError, OSError):
        return False
    return True


def lease_mark() -> Mark | None:
    """Return the mark of the lease that this run holds, for threads and processes that work for it; None without."""
    lease = _held.get()
    return None if lease is None else lease.mark


@contextmanager
def working_for(mark: Mark | None) -> Iterator[None]:
    """Let `require_lease` and `confirm_lease` in the body ask for the run that holds `mark`."""
    before = _held.set(None if mark is None else _Watch(mark))
    try:
        yield
    finally:
        _held.reset(before)


def _lost(mark: Mark) -> LeaseLostError:
    return LeaseLostError(
        f"{mark.what}: this run showed no sign of life for {STALE_SECONDS:.0f} s and another one took over; "
        "it stops here, the other goes on"
    )


def _take(place: Location, what: str, say: Say, *, tidy: bool) -> _Lease:
    if (path := place.local_path) is not None and path.is_symlink():
        raise InputError(f"{place}: is a link; runs say there that they work on {what}; remove it")
    seen = set(_numbers(place))
    last = max(seen, default=0)
    if last:
        _require_dead(_file(place, last), what, say)
    me = psutil.Process()
    owner = Owner(uuid.uuid4().hex, _this_machine(), me.pid, _started(me), time.time())
    mine = _file(place, last + 1)
    if not mine.create_json(asdict(owner)):
        other = _read_owner(mine)
        # A request that was repeated because its answer got lost meets its own file.
        if other is None or other.token != owner.token:
            raise _taken(other, what)
    if set(_numbers(place)) - seen != {last + 1}:
        # While we looked, others have come and gone and taken their files with them: the number was free, not ours.
        mine.remove_tree()
        raise _taken(None, what)
    return _Lease(Mark(place, last + 1, what, owner.token), owner, tidy=tidy)


def _require_dead(file: Location, what: str, say: Say) -> None:
    """Return when the owner of `file` has ended or is dead, raise when it lives."""
    owner = _read_owner(file)
    if owner is not None and (owner.free or (owner.is_here and not owner.is_running)):
        return
    if (owner is not None and owner.is_here and owner.lives_here) or (owner is None and not file.exists()):
        raise _taken(owner, what)  # when the file is gone, somebody has just taken the next number
    # On another machine, or suspended, or somebody has set the clock.
    where = owner.machine.split(":")[0] if owner else "an unknown machine"
    say(f"{what}: a run on {where} did not say that it ended; watching for {STALE_SECONDS:.0f} s whether it lives")
    give_up = time.monotonic() + STALE_SECONDS
    while time.monotonic() < give_up:
        time.sleep(min(LOOK_SECONDS, STALE_SECONDS))
        now = _read_owner(file)
        if now is not None and now.free:
            return
        if now != owner:
            raise _taken(now, what)


def _numbers(place: Location) -> list[int]:
    stems = (name.removesuffix(".json") for name in place.children() if name.endswith(".json"))
    return [int(stem) for stem in stems if stem.isdecimal()]


def _file(place: Location, number: int) -> Location:
    return place / f"{number}.json"


def _read_owner(file: Location) -> Owner | None:
    """Who wrote the file; None when it is gone or says nothing sensible."""
    try:
        content = file.read_json()
        return Owner(
            token=str(content["token"]),
            machine=str(content["machine"]),
            pid=int(content["pid"]),
            started=float(content["started"]),
            renewed=float(content["renewed"]),
            free=bool(content["free"]),
        )
    except (MissingDataError, KeyError, TypeError, ValueError):
        return None


def _started(process: psutil.Process) -> float:
    """When a process was created, in a time that setting the clock does not change, where the system knows one."""
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():
        return float(process.create_time())
    # The 22nd field is in ticks since boot. The second one, a name, may hold anything, a bracket too.
    ticks = int(stat.read_text(errors="replace").rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


@functools.cache
def _this_machine() -> str:
    """Host name and process table: containers can share the first, and count their processes each from 1."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    table = Path("/proc/self/ns/pid")
    booted = boot.read_text().strip() if boot.exists() else f"{psutil.boot_time():.0f}"
    return ":".join([socket.gethostname(), booted, os.readlink(table) if table.exists() else "all"])


def _taken(owner: Owner | None, what: str) -> LeaseTakenError:
    who = f"process {owner.pid} on {owner.machine.split(':')[0]}" if owner else "another run"
    return LeaseTakenError(f"{what}: {who} is working on it; wait until it ends, or stop it and give the command again")
