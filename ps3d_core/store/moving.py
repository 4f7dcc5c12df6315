"""Files change their folder so that a kill at any moment loses none, and the same call afterwards ends the same.

On a folder each file is renamed, which is one step. On object stores, where moving is copying, all are copied, the
store is asked whether all are there in full, and only then the first one is deleted.

What lies at the target already is somebody else's and stays; the file that is moved gets a name beside it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ps3d_core.errors import MissingDataError
from ps3d_core.store.location import Location, writing_to

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_NOT_HERE: Final = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM, errno.EMLINK)
"""What systems say that cannot rename without replacing, or make no hard link of this file."""


def move_files(source: Location, names: Mapping[str, str], target: Location) -> None:
    """Move files of `source` to `target`: {relative name there: relative name here}.

    Files that are no longer at `source` were moved by an earlier call. Where another file has the name at `target`, it
    stays, and the moved one is called NAME-2, NAME-3, ... instead. Raises `MissingDataError`, with everything still in
    place, when a copy is not whole.
    """
    if not names:
        return
    here, there = source.local_path, target.local_path
    if here is not None and there is not None:
        with writing_to(target):
            for name, new in names.items():
                _move(here / name, there / new)
        _remove_empty_folders(here, names)
        return
    present = source.find(hidden=True)
    copied = target.find(hidden=True)
    todo = {}
    for name, new in names.items():
        if name in present:
            todo[name] = next(
                free for free in _names(new) if free not in copied or _same(source / name, target / free, copied[free])
            )
    source.copy_files({name: new for name, new in todo.items() if new not in copied}, target)
    copied = target.find(hidden=True)
    for name, new in todo.items():
        if new not in copied or copied[new]["size"] != present[name]["size"]:
            raise MissingDataError(f"{target / new}: not a whole copy of {source / name}; nothing was deleted")
    source.remove_files(todo)


def rename_to_new(path: Path, new: Path) -> None:
    """Rename a file in one step. Raises `FileExistsError`, with both in place, when there is one of the new name."""
    try:
        _rename_without_replacing(path, new)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        _link_and_unlink(path, new)


def _move(path: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    for free in _names(str(new)):
        try:
            rename_to_new(path, Path(free))
        except FileExistsError:
            if not _is_link_of(path, Path(free)):
                continue
            path.unlink()  # the rest of a move that was killed
        except FileNotFoundError:
            pass  # moved before
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copy = Path(free).with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
            try:
                shutil.copy2(path, copy, follow_symlinks=False)
                rename_to_new(copy, Path(free))
            except FileExistsError:
                continue
            finally:
                copy.unlink(missing_ok=True)
            path.unlink()
        return


def _names(new: str) -> Iterator[str]:
    """The name itself, then others like it."""
    yield new
    path = PurePosixPath(new)
    ending = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
    stem = path.name.removesuffix(ending)
    for number in count(2):
        yield str(path.with_name(f"{stem}-{number}{ending}"))


def _same(original: Location, copy: Location, described: Mapping[str, Any]) -> bool:
    """Whether `copy` is that of an earlier call, whole, rather than a file of somebody else's."""
    with original.open_reading() as one, copy.open_reading() as other:
        if one.seek(0, os.SEEK_END) != described["size"]:
            return False
        one.seek(0)
        while block := one.read(2**22):
            if other.read(len(block)) != block:
                return False
    return True


def _is_link_of(path: Path, other: Path) -> bool:
    try:
        return os.path.samestat(path.lstat(), other.lstat())
    except FileNotFoundError:
        return False


def _link_and_unlink(path: Path, new: Path) -> None:
    try:
        os.link(path, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        # Neither way is open here. What is left is to look first.
        if new.exists() or new.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from error
        path.rename(new)
    else:
        path.unlink()


def _rename_without_replacing(path: Path, new: Path) -> None:
    renameat2 = _renameat2()
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(new), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path), None, str(new))


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """That of Linux; None elsewhere."""
    with suppress(OSError, AttributeError, TypeError):
        function = ctypes.CDLL(None, use_errno=True).renameat2
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        return function
    return None


def _remove_empty_folders(folder: Path, names: Mapping[str, str]) -> None:
    """Remove the folders below `folder` that `names` lay in, where nothing is left in them."""
    emptied = {parent for name in names for parent in (folder / name).parents if folder in parent.parents}
    for path in sorted(emptied, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):
            path.rmdir()
