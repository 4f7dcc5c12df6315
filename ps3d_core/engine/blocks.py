"""Run one function over the unfinished blocks of a stage: the only loop over blocks in this project.

Planning decides which blocks there are; work decides what happens in one; this module decides where and when. All
runners give the same result because blocks are independent within a stage.
"""

from __future__ import annotations

import atexit
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.extras import lacking
from ps3d_core.geometry.blocks import Block
from ps3d_core.memory import release_memory, reuse_memory, share_heaps
from ps3d_core.params import Resources
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.codec_pipeline import use_one_core
from ps3d_core.store.lease import Mark, lease_mark, require_lease, working_for
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.written import noting_writes

Work = Callable[[Block], Record]

CLUSTER_SECONDS: Final = 60.0
"""How long the last blocks of a stage that failed are waited for on a cluster, which may be gone for ever."""


class Runner(BaseModel):
    """Place where blocks are evaluated: threads of this process, processes of this machine, or a Dask cluster."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["threads", "processes", "dask"] = "threads"
    workers: int = Field(default=1, ge=1, le=4096)
    address: str | None = Field(default=None, description="Dask scheduler; a local cluster when absent")

    @classmethod
    def of(cls, resources: Resources) -> Runner:
        """Return the runner that these resources ask for, for stages made of many small blocks."""
        return cls(kind=resources.runner, workers=resources.workers, address=resources.dask_scheduler)

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Hold a `concurrent.futures` executor with `workers` places while the body runs."""
        if self.kind == "threads":
            with ThreadPoolExecutor(self.workers) as threads:
                yield threads
            return
        if self.address:
            with _dask_client(address=self.address) as client:
                yield client.get_executor(pure=False)
            return
        # Workers outlive the stage: starting them takes seconds, and they keep what they have loaded and compiled.
        # Where that is too much to keep, the stage ends them with `stop_workers`.
        start = _start_processes if self.kind == "processes" else _start_dask
        with _starting:
            workers = _workers.get(self) or _workers.setdefault(self, start(self))
        try:
            yield workers.executor
        except BrokenExecutor:
            _workers.pop(self, None)  # the next stage starts new ones
            raise


class _Workers(NamedTuple):
    executor: Executor
    stop: Callable[[], object]


_workers: dict[Runner, _Workers] = {}
_starting = threading.Lock()
_number = 0


@atexit.register
def stop_workers(runner: Runner | None = None) -> None:
    """Stop the worker processes that earlier stages have started, of one runner or all; the next stage starts anew."""
    for key in list(_workers) if runner is None else [runner]:
        if (workers := _workers.pop(key, None)) is not None:
            workers.stop()


def worker_number() -> int:
    """Return the number of this process among the workers of its runner, from 0; 0 in a process that is no worker."""
    return _number


def run_blocks(
    stage: str,
    blocks: Sequence[Block],
    work: Work,
    *,
    ledger: Ledger,
    runner: Runner | None = None,
    progress: Progress = SILENT,
    unit: str = "blocks",
    finished: Mapping[int, Record] | None = None,
) -> list[Record]:
    """Evaluate `work` on every block that the ledger does not know as whole; return all records in block order.

    `finished` is what the ledger said, from who has asked it already: it looks at all that was written.

    `work` writes its data first and returns a small JSON-able record, which then enters the ledger. It must be
    picklable for the processes and dask runners. The first failure stops the stage: blocks in flight end and are
    recorded, the rest is not started, and the error is raised.
    """
    runner = runner or Runner()
    records = dict(ledger.finished() if finished is None else finished)
    todo = [block for block in blocks if block.index not in records]
    with progress.stage(stage, len(blocks), unit, already=len(blocks) - len(todo)) as shown:
        if runner.kind == "threads" and (runner.workers == 1 or len(todo) == 1):
            for block in todo:
                require_lease()
                records[block.index] = _evaluate(work, block, ledger)
                shown.advance()
        elif todo:
            with runner.executor() as executor:
                mark = lease_mark()
                futures = {executor.submit(_evaluate_for, mark, work, block, ledger): block for block in todo}
                try:
                    for future in as_completed(futures):
                        require_lease()
                        records[futures[future].index] = future.result()
                        shown.advance()
                except BaseException:
                    # Nothing may be written any more when the error is out and somebody else begins.
                    flying = [future for future in futures if not future.cancel()]
                    wait(flying, timeout=CLUSTER_SECONDS if runner.kind == "dask" else None)
                    raise
    return [records[block.index] for block in blocks]


def _evaluate_for(mark: Mark | None, work: Work, block: Block, ledger: Ledger) -> Record:
    with working_for(mark):
        return _evaluate(work, block, ledger)


def _evaluate(work: Work, block: Block, ledger: Ledger) -> Record:
    share_heaps()  # in worker processes nobody has said it yet
    with noting_writes() as written:
        record = work(block)
    release_memory()
    ledger.record(block.index, record, written)
    return record


def _start_processes(runner: Runner) -> _Workers:
    # Spawned, not forked: torch and s3fs do not survive a fork.
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(runner.workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(runner.workers, context, initializer=_serve_as, initargs=(numbers,))
    return _Workers(pool, pool.shutdown)


def _serve_as(numbers: SimpleQueue[int]) -> None:
    """Prepare a worker process, which takes the next of the `numbers`."""
    global _number  # noqa: PLW0603 - of this process, once
    _number = numbers.get()
    _serve_one_core()


def _serve_one_core() -> None:
    """Prepare a worker process, before its first block: it is one of several, each there for one core.

    Workers of somebody else's cluster are not told: they may have more.
    """
    reuse_memory()
    use_one_core()


def _start_dask(runner: Runner) -> _Workers:
    # Whoever reaches a scheduler may run programs as its user, so it asks for a certificate made for this cluster. Its
    # pages, and those of the workers, ask for nothing and are not served.
    client = _dask_client(
        n_workers=runner.workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", security=True
    )
    client.cluster.loop.add_callback(client.cluster.scheduler.http_server.stop)
    client.register_worker_callbacks(_shut_pages)
    client.register_worker_callbacks(_serve_one_core)
    client.register_worker_callbacks(_take_number)
    return _Workers(client.get_executor(pure=False), client.close)


def _take_number(dask_worker: Any) -> None:
    global _number  # noqa: PLW0603 - of this process, once
    _number = int(dask_worker.name)  # those of a cluster on this machine are numbered


def _shut_pages(dask_worker: Any) -> None:
    dask_worker.loop.add_callback(dask_worker.http_server.stop)


def _dask_client(**where: Any) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise lacking("distributed") from error
    return Client(**where)  # type: ignore[no-untyped-call]
