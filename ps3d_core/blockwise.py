"""Run one function over the unfinished blocks of a stage: the only loop over blocks in this project.

Planning decides which blocks there are; work decides what happens in one; this module decides where and when. All
runners give the same result because blocks are independent within a stage.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.ledger import Ledger, Record

Work = Callable[[Block], Record]


class Runner(BaseModel):
    """Where blocks are evaluated: threads of this process, processes of this machine, or a Dask cluster."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["threads", "processes", "dask"] = "threads"
    workers: int = Field(default=1, ge=1, le=4096)
    address: str | None = Field(default=None, description="Dask scheduler; a local cluster when absent")

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """A `concurrent.futures` executor with `workers` places."""
        if self.kind == "threads":
            with ThreadPoolExecutor(self.workers) as threads:
                yield threads
        elif self.kind == "processes":
            # Spawned, not forked: torch and s3fs do not survive a fork.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(self.workers, mp_context=context) as processes:
                yield processes
        else:
            with _dask_executor(self) as cluster:
                yield cluster


def run_blocks(
    stage: str,
    blocks: Sequence[Block],
    work: Work,
    *,
    ledger: Ledger,
    runner: Runner | None = None,
    progress: Progress = SILENT,
    unit: str = "blocks",
) -> list[Record]:
    """Evaluate `work` on every block that the ledger does not know; return all records in block order.

    `work` writes its data first and returns a small JSON-able record, which then enters the ledger. It must be
    picklable for the processes and dask runners. The first failure stops the stage: blocks in flight end and are
    recorded, the rest is not started, and the error is raised.
    """
    runner = runner or Runner()
    records = ledger.finished()
    todo = [block for block in blocks if block.index not in records]
    with progress.stage(stage, len(blocks), unit, already=len(blocks) - len(todo)) as shown:
        if runner.kind == "threads" and (runner.workers == 1 or len(todo) == 1):
            for block in todo:
                records[block.index] = _evaluate(work, block, ledger)
                shown.advance()
        elif todo:
            with runner.executor() as executor:
                futures = {executor.submit(_evaluate, work, block, ledger): block for block in todo}
                try:
                    for future in as_completed(futures):
                        records[futures[future].index] = future.result()
                        shown.advance()
                except BaseException:
                    for future in futures:
                        future.cancel()
                    raise
    return [records[block.index] for block in blocks]


def _evaluate(work: Work, block: Block, ledger: Ledger) -> Record:
    record = work(block)
    ledger.record(block.index, record)
    return record


@contextmanager
def _dask_executor(runner: Runner) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "runner 'dask': the package distributed is not installed; pip install 'ps3d[dask]' or use --runner threads"
        ) from error
    where = (
        {"address": runner.address}
        if runner.address
        else {"n_workers": runner.workers, "threads_per_worker": 1, "dashboard_address": None}
    )
    with Client(**where) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False)
