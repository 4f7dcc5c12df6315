"""A worker of an inbox as a program of its own: `python -m tests.integration.inbox_worker PREFIX [WRITE]`.

Polls until nothing is left that is complete and free. Prints a line for every segmentation that begins and ends. With
WRITE it kills itself while that write to the store is under way, counted from 1.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

BEGUN, SEGMENTED, WRITES = "begun", "segmented", "writes"
PARAMS = {"settle_seconds": 1.0}


def main(prefix: str, deadly: str | None = None) -> None:
    """Process the inbox at `prefix`."""
    from ps3d_core import outcome
    from ps3d_core.inbox.layout import Inbox
    from ps3d_core.inbox.process import InboxJob, process_inbox
    from ps3d_core.params import InboxParams, PredictParams, Resources, SegmentParams
    from ps3d_core.progress import Progress
    from ps3d_core.store.location import Location

    writes = _Writes(int(deadly) if deadly else None)
    _say_when(outcome, "begin_run", BEGUN)
    _say_when(outcome, "finish_run", SEGMENTED)
    job = InboxJob(
        Inbox(Location.parse(prefix)),
        InboxParams(**PARAMS),
        segmentation=SegmentParams(predict=PredictParams(mirror=False, device="cpu")),
        resources=Resources(workers=1, memory_gib=2),
    )
    while True:
        poll = process_inbox(job, Progress(_note))
        poll.raise_any()
        print("poll:", poll, flush=True)
        if not (poll.done or poll.held or poll.failed):
            break
    print(WRITES, writes.count)


def _note(event: object) -> None:
    if text := getattr(event, "text", None):
        print("note:", round(time.perf_counter()), text, flush=True)


class _Writes:
    """Counts what the library writes, and kills the process at one of them."""

    def __init__(self, deadly: int | None) -> None:
        from ps3d_core.store.location import Location

        self.count, self._deadly, self._lock = 0, deadly, threading.Lock()
        for name in ("write_bytes", "create_json", "copy_files", "remove_files", "remove_tree"):
            self._watch(Location, name)

    def _watch(self, owner: type, name: str) -> None:
        write = getattr(owner, name)

        def counted(*args: object, **kwargs: object) -> object:
            with self._lock:
                self.count += 1
                if self.count == self._deadly:
                    # From another thread, so that the write goes on until it is hit.
                    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGKILL)).start()
            return write(*args, **kwargs)

        setattr(owner, name, counted)


def _say_when(module: object, name: str, word: str) -> None:
    function = getattr(module, name)

    def said(run: object, *args: object) -> object:
        result = function(run, *args)
        # One call, so that lines of several threads do not mix.
        sys.stdout.write(f"{word} {run.plan.job.scan}\n")  # type: ignore[attr-defined]
        sys.stdout.flush()
        return result

    setattr(module, name, said)


if __name__ == "__main__":
    main(*sys.argv[1:])
