"""All parts together: a Prefect server, an S3 server, deployments and workers, for as long as `ps3d up` runs.

The server is the one that other commands share (see `flows.service.local_server`); the rest are children under guards.
A child that ends is started again; what cannot be kept alive takes everything down with it. Interrupted runs continue
with the next start.

The process above them all runs for months, and is small: what needs Prefect or the flows is done by others for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial

from ps3d_app.flows.machine.locks import exclusive_if_free, is_locked
from ps3d_app.flows.machine.log_file import logger, open_log, rotate
from ps3d_app.flows.service.local_server import (
    client_variables,
    first_page,
    local_server,
    local_ui,
    revive,
    running_url,
    server_folder,
)
from ps3d_app.flows.service.prefect_api import NoAnswerError, PrefectApi, connect
from ps3d_app.flows.service.stack import s3_server
from ps3d_app.flows.service.stack.children import FORGET_SECONDS, LOOK_EVERY_SECONDS, RESTARTS, Child, Say, stop_all
from ps3d_app.flows.service.stack.gpu_pool import pause_while_empty
from ps3d_app.flows.service.stack.recovery import Workers, settle
from ps3d_app.flows.service.stack.state import (
    Service,
    StackState,
    heartbeat_file,
    running_stack,
    stack_folder,
    write_state,
)
from ps3d_app.flows.service.stack.watcher import watcher
from ps3d_app.flows.service.stack.workers import (
    await_online,
    client_environment,
    has_gpu,
    temporary_folder,
    worker,
    worker_name,
)
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.memory import release_memory

POOL_CPU, POOL_GPU = "cpu", "gpu"
SETTLE_EVERY_SECONDS = 60.0
"""Between looks for runs that nobody works on."""


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Options that `ps3d up` was given."""

    store: str | None = None
    """Folder or URL for inbox and results; a bucket of the S3 server of the stack when absent."""
    port: int | None = None
    s3_port: int = s3_server.DEFAULT_PORT
    workers: int = 1


@dataclass
class Stack:
    """Running parts of the local stack."""

    url: str
    ui: str
    store: str
    s3: s3_server.S3Server | None
    say: Say
    environment: Mapping[str, str]
    """Of programs that use the server and the store."""
    children: list[Child] = field(default_factory=list)
    ready: bool = False
    _server_ends: list[float] = field(default_factory=list)
    _said: StackState | None = None
    _a_worker_ended: bool = False
    _settled: float = 0.0

    @cached_property
    def api(self) -> PrefectApi:
        """API of the Prefect server of the stack."""
        return connect(self.url)

    @property
    def state(self) -> StackState:
        """State of the stack at this moment."""
        return StackState(
            pid=os.getpid(),
            api=self.url,
            ui=self.ui,
            store=self.store,
            s3=self.s3.endpoint if self.s3 else None,
            s3_environment=str(self.s3.environment_file) if self.s3 else None,
            ready=self.ready,
            log=str(open_log() or ""),
            parts=[child.state for child in self.children],
        )

    def watch(self) -> None:
        """Look after all parts of the stack once.

        Raise `Ps3dError` when one cannot be kept alive.
        """
        rotate(server_folder() / "server.log")
        if not is_locked(server_folder() / "server.lock"):
            self._revive_server()
        for child in self.children:
            child.watch(self.say)
        self._settle_runs()
        if (state := self.state) != self._said:
            write_state(state)
            self._said = state
        heartbeat_file().touch()

    def keep(self) -> None:
        """Look after all parts of the stack until interrupted."""
        release_memory()  # of the start
        while True:
            self.watch()
            time.sleep(LOOK_EVERY_SECONDS)

    def note_end_of_worker(self) -> None:
        """Have the runs of a worker that ended looked at."""
        self._a_worker_ended = True

    def settle(self, workers: Workers, when: str = "continues") -> bool:
        """Let the server show what is true of runs and pools; return whether it was there to do so."""
        self._settled = time.monotonic()
        try:
            for name in settle(self.api, workers):
                self.say(f"run {name!r} was interrupted and {when}")
            if workers is not Workers.NONE:
                pause_while_empty(self.api, stack_folder() / "gpu-paused")
        except NoAnswerError as error:
            logger.warning("runs are not looked at: %s", error)
            return False
        return True

    def _settle_runs(self) -> None:
        due = time.monotonic() - self._settled > SETTLE_EVERY_SECONDS
        if self.ready and (self._a_worker_ended or due):
            done = self.settle(Workers.ENDED if self._a_worker_ended else Workers.LIVE)
            self._a_worker_ended = self._a_worker_ended and not done

    def _revive_server(self) -> None:
        now = time.monotonic()
        self._server_ends = [end for end in self._server_ends if now - end < FORGET_SECONDS] + [now]
        log = server_folder() / "server.log"
        if len(self._server_ends) > RESTARTS:
            raise Ps3dError(f"Prefect server: ended {len(self._server_ends)} times; see {log}; everything is stopped")
        self.say(f"Prefect server: ended; starting it again (log: {log})")
        revive(self.url)
        self.say("Prefect server: started again")


@contextmanager
def running(options: StackOptions, say: Say) -> Iterator[Stack]:
    """Hold the stack while the body runs: start everything, yield it when it is ready, stop everything.

    Raise `InputError` when a stack runs already.
    """
    with ExitStack() as leave:
        if not leave.enter_context(exclusive_if_free(stack_folder() / "stack.lock")):
            other = running_stack()
            raise InputError(
                f"ps3d up runs already ({f'process {other.pid}, {other.ui}' if other else 'it is just starting'}); use "
                "that one, or stop it with Ctrl-C where it runs"
            )
        (stack_folder() / "stack.json").unlink(missing_ok=True)
        shutil.rmtree(temporary_folder(stack_folder()), ignore_errors=True)  # of a stack that was killed
        s3 = None if options.store else s3_server.prepare(options.s3_port)
        if options.port is not None and running_url() is None:
            s3_server.require_free(options.port, "port")
        store = _named(options.store) if options.store else f"s3://{s3_server.BUCKET}"
        children: list[Child] = []
        stopped: list[Callable[[], object]] = []
        # The server goes last: runs that are stopped tell it so.
        say("starting the Prefect server ...")
        with ThreadPoolExecutor(1) as beside:
            s3_ready = beside.submit(_start_s3, s3, children) if s3 else None
            try:
                url = leave.enter_context(local_server(options.port))
            finally:
                leave.callback(lambda: [settle() for settle in stopped])
                leave.callback(stop_all, children)
            if s3_ready is not None:
                s3_ready.result()
        s3_variables: Mapping[str, str] = s3.environment if s3 else {}
        environment = client_environment(client_variables(url), s3_variables, stack_folder())
        stack = Stack(url, first_page(local_ui()), store, s3, say, environment, children)
        stopped.append(partial(stack.settle, Workers.NONE, "continues with the next start"))
        _register(stack)
        stack.settle(Workers.NONE)
        _start_workers(stack, options.workers)
        stack.settle(Workers.LIVE)
        stack.ready = True
        stack.watch()
        yield stack


def _named(store: str) -> str:
    from ps3d_core.store.location import Location

    return str(Location.parse(store))


def _start_s3(s3: s3_server.S3Server, children: list[Child]) -> None:
    child = s3.child()
    child.service = Service("s3", s3.endpoint)
    children.append(child)
    child.start()
    s3.await_ready(lambda: child.alive)


def _register(stack: Stack) -> None:
    stack.say("registering the deployments ...")
    command = [sys.executable, "-P", "-m", "ps3d_app.flows.service.stack.bootstrap", "--store", stack.store]
    done = subprocess.run(  # noqa: S603
        command, env=dict(stack.environment), cwd=stack_folder(), capture_output=True, text=True, check=False
    )
    logger.info("%s: status %s\n%s%s", " ".join(command), done.returncode, done.stdout, done.stderr)
    for line in done.stdout.splitlines():
        if "left out" in line:
            stack.say(line)
    if done.returncode:
        problem = (done.stderr.splitlines() or ["no reason given"])[-1]
        raise Ps3dError(f"the deployments cannot be registered: {problem}; see {open_log()}")


def _start_workers(stack: Stack, count: int) -> None:
    pools = [(POOL_CPU, number) for number in range(1, count + 1)]
    if count and has_gpu(stack.environment):
        pools.append((POOL_GPU, 1))
    if not pools:
        return
    stack.say("starting the workers ...")
    stack.children += [
        worker(pool, number, stack.environment, stack_folder(), stack.note_end_of_worker) for pool, number in pools
    ]
    stack.children.append(watcher(stack.environment, stack_folder()))
    stack.watch()
    await_online(stack.api, {worker_name(pool, number): pool for pool, number in pools}, stack.watch)
