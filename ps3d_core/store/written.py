"""What a piece of work writes, noted while it writes it: no stage has to say it, and nothing is read back.

Notes follow the context: threads that a piece of work starts itself are not noted, Zarr's are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ps3d_core.store.digest import Digest

Written = dict[str, Digest]
"""By URL, what was written there."""

_noted: ContextVar[Written | None] = ContextVar("noted", default=None)
_replacing: ContextVar[bool] = ContextVar("replacing", default=False)


@contextmanager
def noting_writes() -> Iterator[Written]:
    """Note what is written through `Location` and its Zarr stores while the body runs; yield the notes.

    Not noted are `create_json`, `upload`, `open_writing`, copies and moves.
    """
    written: Written = {}
    token = _noted.set(written)
    try:
        yield written
    finally:
        _noted.reset(token)


def note_write(url: str, data: Any) -> None:
    """Note that `data`, bytes or a buffer of them, is what lies at `url` now."""
    if (written := _noted.get()) is not None:
        written[url] = Digest.of_content(data)


def note_written(others: Written) -> None:
    """Note what others wrote for the piece of work that is being done: its threads, or an earlier attempt at it."""
    if (written := _noted.get()) is not None:
        written.update(others)


@contextmanager
def replacing_chunks() -> Iterator[None]:
    """Let chunks be written while the body runs without a look at what they held before.

    Zarr would merge a shard at the end of an array with that.
    """
    token = _replacing.set(True)
    try:
        yield
    finally:
        _replacing.reset(token)


def chunks_are_replaced() -> bool:
    """Return whether `replacing_chunks` is in force."""
    return _replacing.get()
