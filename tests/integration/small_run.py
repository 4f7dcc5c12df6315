"""One segmentation in tiny blocks, as a program of its own: `python -m tests.integration.small_run PLACE [WRITE]`.

With WRITE it kills its process group while that write is under way, counted from 1: at the same point of the work on
every machine, be it slow or fast. Prints a line for every block that enters a ledger and, at the end, the number of
writes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

SCAN = "ore"
RECORDED, WRITES = "recorded", "writes"


def main(place: str, deadly: str | None = None) -> None:
    """Segment the scan at `place`."""
    cut_small()
    from ps3d_core.params import PredictParams, Resources, SegmentParams
    from ps3d_core.pipeline import segment
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    _announce_records()
    root = Location.parse(place)
    job = SegmentJob(
        dataset=Dataset(root / "dataset"),
        scan=SCAN,
        output=root / "output",
        params=SegmentParams(predict=PredictParams(mirror=False, device="cpu")),
        resources=Resources(workers=2, memory_gib=0.79),  # just enough for blocks of one shard
        keep_work=True,
    )
    with count_writes(int(deadly) if deadly else None) as writes:
        segment(job)
    print(WRITES, writes.count)


def cut_small() -> None:
    """Small shards, before any other module takes over their size: many blocks in a small scan."""
    from ps3d_core.store import arrays

    arrays.CHUNK, arrays.SHARD = 16, 32

    from ps3d_core import memory_model
    from ps3d_core.inference import plan

    plan.CHUNK, plan.SHARD_DEPTH, plan.SHARD_SIDE = 16, 32, 32
    # The budget is for small blocks, not for the network.
    memory_model.WORKER_BYTES, memory_model.OPENVINO_BYTES, memory_model.torch_bytes = 0, 0, lambda: 0


@contextmanager
def count_writes(deadly: int | None = None) -> Iterator[Writes]:
    """Count writes to the store, and kill everything at the one with this number."""
    from zarr.storage import FsspecStore, LocalStore

    from ps3d_core.store.location import Location

    writes = Writes(deadly)
    with ExitStack() as stack:
        for owner, name in ((Location, "write_bytes"), (Location, "upload"), (FsspecStore, "set"), (LocalStore, "set")):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, writes.watched(getattr(owner, name)))
        yield writes


class Writes:
    """How many there were so far."""

    def __init__(self, deadly: int | None) -> None:
        self.count = 0
        self._deadly = deadly
        self._lock = threading.Lock()

    def watched(self, write: Callable[..., Any]) -> Callable[..., Any]:
        """`write`, counted."""

        def counted(target: Any, *args: Any, **kwargs: Any) -> Any:
            if "/.lease/" not in str(target):  # how often a run says that it lives depends on how long it takes
                self._one()
            return write(target, *args, **kwargs)

        return counted

    def _one(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._deadly:
                # From another thread, so that the write goes on until it is hit.
                threading.Thread(target=os.killpg, args=(0, signal.SIGKILL)).start()


def _announce_records() -> None:
    from ps3d_core.store.ledger import Ledger

    record = Ledger.record

    def recorded(self: Ledger, index: int, *content: Any) -> None:
        record(self, index, *content)
        # One call, so that lines of several threads do not mix.
        sys.stdout.write(f"{RECORDED} {self.stage}/{self.fingerprint}/{index}.json\n")
        sys.stdout.flush()

    Ledger.record = recorded  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
