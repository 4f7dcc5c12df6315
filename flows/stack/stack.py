"""All parts together: a Prefect server, an S3 server, deployments and workers, for as long as `ps3d up` runs.

The server is the one that other commands share (see `flows.local_server`); the rest are children under guards. A child
that ends is started again; what cannot be kept alive takes everything down with it. Interrupted runs continue with
the next start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from flows.local_server import local_server, revive, running_url, server_folder, using
from flows.locks import exclusive_if_free, is_locked
from flows.stack import s3_server
from flows.stack.children import LOOK_EVERY_SECONDS, Child, Say, stop_all
from flows.stack.state import PartState, StackState, running_stack, stack_folder, write_state
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.store.location import Location

POOL_CPU, POOL_GPU = "cpu", "gpu"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What `ps3d up` was asked for."""

    store: str | None = None
    """Folder or URL for inbox and results; a bucket of the S3 server of the stack when absent."""
    port: int | None = None
    s3_port: int = s3_server.DEFAULT_PORT
    workers: int = 1


@dataclass
class Stack:
    """The running parts."""

    url: str
    store: str
    s3: s3_server.S3Server | None
    say: Say
    children: list[Child] = field(default_factory=list)
    ready: bool = False
    _server_ends: list[float] = field(default_factory=list)
    _said: StackState | None = None

    @property
    def state(self) -> StackState:
        """As it is at this moment."""
        return StackState(
            pid=os.getpid(),
            ui=self.url.removesuffix("/api"),
            store=self.store,
            s3=self.s3.endpoint if self.s3 else None,
            s3_environment=str(self.s3.environment_file) if self.s3 else None,
            ready=self.ready,
            parts=[PartState(name=c.name, alive=c.alive, restarts=c.restarts, log=str(c.log)) for c in self.children],
        )

    def watch(self) -> None:
        """Look after all parts once; `Ps3dError` when one cannot be kept alive."""
        if not is_locked(server_folder() / "server.lock"):
            self._revive_server()
        for child in self.children:
            child.watch(self.say)
        if (state := self.state) != self._said:
            write_state(state)
            self._said = state

    def keep(self) -> None:
        """Look after all parts until interrupted."""
        while True:
            self.watch()
            time.sleep(LOOK_EVERY_SECONDS)

    def _revive_server(self) -> None:
        now = time.monotonic()
        self._server_ends = [end for end in self._server_ends if now - end < 600] + [now]
        log = server_folder() / "server.log"
        if len(self._server_ends) > 4:
            raise Ps3dError(f"Prefect server: ended {len(self._server_ends)} times; see {log}; everything is stopped")
        self.say(f"Prefect server: ended; starting it again (log: {log})")
        revive(self.url)


@contextmanager
def running(options: StackOptions, say: Say) -> Iterator[Stack]:
    """Start everything, yield it when it is ready, stop everything."""
    with ExitStack() as leave:
        if not leave.enter_context(exclusive_if_free(stack_folder() / "stack.lock")):
            other = running_stack()
            raise InputError(
                f"ps3d up runs already ({f'process {other.pid}, {other.ui}' if other else 'it is just starting'}); use "
                "that one, or stop it with Ctrl-C where it runs"
            )
        (stack_folder() / "stack.json").unlink(missing_ok=True)
        s3 = None if options.store else s3_server.prepare(options.s3_port)
        if options.port is not None and running_url() is None:
            s3_server.require_free(options.port, "port")
        store = str(Location.parse(options.store)) if options.store else f"s3://{s3_server.BUCKET}"
        children: list[Child] = []
        # The server goes last: runs that are stopped tell it so.
        say("starting the Prefect server ...")
        with ThreadPoolExecutor(1) as beside:
            s3_ready = beside.submit(_start_s3, s3, children) if s3 else None
            try:
                url = leave.enter_context(local_server(options.port))
            finally:
                leave.callback(stop_all, children)
            if s3_ready is not None:
                s3_ready.result()
        leave.enter_context(using(url))
        stack = Stack(url, store, s3, say, children)
        _register(stack)
        _start_workers(stack, options.workers)
        stack.ready = True
        stack.watch()
        yield stack


def _start_s3(s3: s3_server.S3Server, children: list[Child]) -> None:
    child = s3.child()
    children.append(child)
    child.start()
    s3.await_ready(lambda: child.alive)


def _register(stack: Stack) -> None:
    from flows.stack.bootstrap import bootstrap, read_file
    from flows.stack.recovery import continue_dead_runs

    stack.say("registering the deployments ...")
    bootstrap(read_file(stack.store))
    for name in continue_dead_runs(no_worker_lives=True):
        stack.say(f"run {name!r} was interrupted and continues")


def _start_workers(stack: Stack, count: int) -> None:
    from flows.stack.watcher import watcher
    from flows.stack.workers import await_online, client_environment, has_gpu, worker, worker_name

    pools = [(POOL_CPU, number) for number in range(1, count + 1)]
    if count and has_gpu():
        pools.append((POOL_GPU, 1))
    if not pools:
        return
    stack.say("starting the workers ...")
    s3: Mapping[str, str] = stack.s3.environment if stack.s3 else {}
    stack.children += [worker(pool, number, api=stack.url, s3=s3, folder=stack_folder()) for pool, number in pools]
    stack.children.append(watcher(client_environment(stack.url, s3, stack_folder()), stack_folder()))
    check: Callable[[], None] = stack.watch
    check()
    await_online({worker_name(pool, number): pool for pool, number in pools}, check)
