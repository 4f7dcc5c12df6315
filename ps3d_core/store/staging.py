"""Output that appears whole or not at all, and replaces nothing but what ps3d made.

On a folder it grows as `new` in a hidden neighbour of its place with a name that nobody else has, and is moved there in
one step. What is to be replaced steps aside into the same neighbour (`old`), and goes when the new one is in its place.

On object stores, where moving is copying, a new output grows in its place, marked as unfinished until its end. One that
replaces another grows in the hidden neighbour and is copied.

A killed run leaves its neighbour; the next one that writes to the place clears it up, or brings to its end what it had
begun to put in place. Whoever calls holds the claim on the place.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.store.claim import Output, fresh_folders, holds_no_file, require_ours
from ps3d_core.store.identity import content_identity
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.ownership import ZARR_FILES, is_own, mark_own, remove_own, unmark

_WHOLE: Final = "whole"  # file in the neighbour: `new` is, and takes its place
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def nothing_more() -> None:
    """Do nothing more when the output is in its place."""


@contextmanager
def all_or_nothing(
    output: Output,
    *,
    known: re.Pattern[str] | None = ZARR_FILES,
    finish: Callable[[], None] = nothing_more,
) -> Iterator[Location]:
    """Yield the place to write to; it becomes `output.place` when the body ends, and is removed when the body fails.

    `known` are the names that are written below a folder; None when the output is one file. `finish` is what else
    belongs to a whole output, done when it is in its place: when that fails, everything is as it was.

    Raises `InputError` when something that ps3d did not make is at the place, at the start or at the end.
    """
    target = output.place
    _recover(output, known)
    if target.local_path is None and not _is_there(target, known):
        writing = _in_place(target, known, finish)
    else:
        writing = _beside(output, known, finish)
    with fresh_folders(target), writing_to(target), writing as place:
        yield place


def is_unfinished(target: Location) -> bool:
    """Return whether what a run made for `target` is not yet in place or finished: it was killed, or is still at it."""
    whole = (target.parent / name / _WHOLE for name in _neighbours(target))
    return is_own(target) or any(mark.exists() for mark in whole)


def _recover(output: Output, known: re.Pattern[str] | None) -> None:
    """Clear up after runs that were killed while they made `output`: what was whole is put in place, the rest goes."""
    target = output.place
    for name in _neighbours(target):
        stage = target.parent / name
        if not is_own(stage):
            continue
        if (stage / _WHOLE).exists():
            _put(output, stage, known)
        stage.remove_tree()
    if known is not None and target.local_path is None and is_own(target) and output.is_ours(target):
        remove_own(target, known)


@contextmanager
def _in_place(target: Location, known: re.Pattern[str] | None, finish: Callable[[], None]) -> Iterator[Location]:
    if known is not None:
        mark_own(target)
    try:
        yield target
        finish()
    except BaseException:
        if known is None:
            target.remove_tree()  # was not there
        else:
            remove_own(target, known)
        raise
    if known is not None:
        unmark(target)


@contextmanager
def _beside(output: Output, known: re.Pattern[str] | None, finish: Callable[[], None]) -> Iterator[Location]:
    target = output.place
    stage = target.parent / f".{target.name}.{uuid.uuid4().hex}.ps3d"
    before = _what_is_there(target)
    mark_own(stage)
    try:
        yield stage / "new"
        require_ours(output)
        if _what_is_there(target) != before:
            raise InputError(f"{target}: somebody else has written there meanwhile; give the same command again")
        (stage / _WHOLE).write_text(f"{target}\n")
    except BaseException:
        stage.remove_tree()
        raise
    _put(output, stage, known)
    try:
        finish()
    except BaseException:
        _take_back(target, stage)
        raise
    stage.remove_tree()


def _put(output: Output, stage: Location, known: re.Pattern[str] | None) -> None:
    """Move what is whole in `stage` to its place. May be repeated."""
    target, new = output.place, stage / "new"
    here, there, aside = new.local_path, target.local_path, (stage / "old").local_path
    if not new.exists():
        return
    if here is None or there is None or aside is None:
        _replace_objects(output, new, known)
        return
    if there.exists():
        require_ours(output)
        there.rename(aside)
    _move(here, there)


def _take_back(target: Location, stage: Location) -> None:
    """Bring back what was replaced. On object stores it is gone, and the new one stays for the next try to finish."""
    there, aside = target.local_path, (stage / "old").local_path
    if there is not None and aside is not None:
        target.remove_tree()
        if aside.exists():
            aside.rename(there)
        stage.remove_tree()


def _move(new: Path, target: Path) -> None:
    """Rename; what has appeared at `target` in the meantime is not replaced."""
    if new.is_dir():
        new.rename(target)  # fails when anything but an empty folder is there
        return
    try:
        os.link(new, target)
    except FileExistsError as error:
        raise InputError(f"{target}: has appeared there meanwhile; move it away or choose another place") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        new.rename(target)


def _replace_objects(output: Output, new: Location, known: re.Pattern[str] | None) -> None:
    target = output.place
    if known is None:
        target.parent.copy_files({f"{new.parent.name}/{new.name}": target.name}, target.parent)
        return
    if _is_there(target, known) and not is_own(target):  # not what an earlier try has copied
        require_ours(output)
        mark_own(target)
    remove_own(target, known)
    mark_own(target)
    new.copy_files({name: name for name in new.find(hidden=True)}, target)
    unmark(target)


def _what_is_there(target: Location) -> str | None:
    """Return the identity of what lies at `target`; None when nothing does, or an empty folder."""
    return content_identity(target) if target.exists() and not holds_no_file(target) else None


def _is_there(target: Location, known: re.Pattern[str] | None) -> bool:
    return target.exists() if known is None else bool(target.children())


def _neighbours(target: Location) -> list[str]:
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.ps3d")
    return [name for name in target.parent.children() if ours.fullmatch(name)]
