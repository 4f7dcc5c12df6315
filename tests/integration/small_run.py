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
from collections.abc import Callable
from typing import Any

SCAN = "ore"
RECORDED, WRITES = "recorded", "writes"


def main(place: str, deadly: str | None = None) -> None:
    """Segment the scan at `place`."""
    _cut_small()
    from ps3d_core.params import PredictParams, Resources, SegmentParams
    from ps3d_core.pipeline import segment
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    writes = _Writes(int(deadly) if deadly else None)
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
    segment(job)
    print(WRITES, writes.count)


def _cut_small() -> None:
    """Small shards, before any other module takes over their size: many blocks in a small scan."""
    from ps3d_core.store import arrays

    arrays.CHUNK, arrays.SHARD = 16, 32

    from ps3d_core import plan as segmentation
    from ps3d_core.inference import plan

    plan.CHUNK, plan.SHARD_DEPTH, plan.SHARD_SIDE = 16, 32, 32
    # The budget is for small blocks, not for the network.
    segmentation.WORKER_BYTES, segmentation.library_bytes = 0, lambda: 0


class _Writes:
    """Counts writes to the store, and kills everything at one of them."""

    def __init__(self, deadly: int | None) -> None:
        from zarr.storage import FsspecStore, LocalStore

        from ps3d_core.store.location import Location

        self.count = 0
        self._deadly = deadly
        self._lock = threading.Lock()
        for owner, name in ((Location, "write_bytes"), (Location, "upload"), (FsspecStore, "set"), (LocalStore, "set")):
            self._watch(owner, name)

    def _watch(self, owner: type, name: str) -> None:
        write: Callable[..., Any] = getattr(owner, name)

        def counted(target: Any, *args: Any, **kwargs: Any) -> Any:
            if "/.lease/" not in str(target):  # how often a run says that it lives depends on how long it takes
                self._one()
            return write(target, *args, **kwargs)

        setattr(owner, name, counted)

    def _one(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._deadly:
                # From another thread, so that the write goes on until it is hit.
                threading.Thread(target=os.killpg, args=(0, signal.SIGKILL)).start()


def _announce_records() -> None:
    from ps3d_core.store.ledger import Ledger

    record = Ledger.record

    def recorded(self: Ledger, index: int, content: Any) -> None:
        record(self, index, content)
        # One call, so that lines of several threads do not mix.
        sys.stdout.write(f"{RECORDED} {self.stage}/{self.fingerprint}/{index}.json\n")
        sys.stdout.flush()

    Ledger.record = recorded  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
