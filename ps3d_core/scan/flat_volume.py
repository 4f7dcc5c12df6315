"""Volumes whose headers say where voxels lie flat: in the same file, in one beside it, or slice by slice in many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read, require_inside
from ps3d_core.scan.flat import FlatLayout, FlatVoxels, Packing
from ps3d_core.scan.grey_scaling import GreyScaling
from ps3d_core.scan.reader import ScanReader, scan_dtype
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_NUMBERED: Final = re.compile(r"[^%]*%0?\d{0,2}d[^%]*")
"""A name with one number in it, as C's printf has it."""
_MAGIC: Final[dict[bytes, Packing]] = {b"\x1f\x8b": "gzip", b"BZ": "bzip2"}


class FlatFiles:
    """Voxels in several files, one behind the other, of equally many slices each; opened while they are read.

    `layout` is that of one file. On a folder the size of each is checked first. Raise `InputError` when one is not
    there or cannot hold its voxels.
    """

    def __init__(self, files: Sequence[Location], layout: FlatLayout) -> None:
        self._files, self._layout = files, layout
        for file in files if files[0].local_path is not None else files[:1]:
            open_flat(file, layout).close()

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return slices `start` to `stop` as `FlatVoxels.read` does."""
        depth = self._layout.shape[0]
        slab = np.empty((stop - start, *self._layout.shape[1:]), self._layout.stored.newbyteorder("="))
        at = start
        while at < stop:
            index, first = divmod(at, depth)
            last = min(depth, first + stop - at)
            with closing(open_flat(self._files[index], self._layout)) as voxels:
                slab[at - start : at - start + last - first] = voxels.read(first, last)
            at += last - first
        return slab

    def close(self) -> None:
        """Nothing stays open."""


class FlatVolume(ScanReader):
    """A volume with flat voxels; made by the readers of the formats."""

    _voxels: FlatVoxels | FlatFiles

    def __init__(
        self,
        files: Sequence[Location],
        layout: FlatLayout,
        source: Location,
        *,
        spacing: tuple[Spacing | None, str | None] = (None, None),
        scaling: GreyScaling | None = None,
        origin: Spacing = (0.0, 0.0, 0.0),
        notes: Sequence[str | None] = (),
    ) -> None:
        """Open the voxels in `files`, of which each has its part of `layout`, the layout of the whole volume.

        `source` is the header, which errors name; `spacing` is in mm, or a doubt; None among the `notes` is nothing.
        """
        stored = scan_dtype(layout.stored, str(source))
        self.shape, self.dtype = layout.shape, scaling.dtype(stored) if scaling else stored
        self.spacing, self.spacing_doubt = spacing
        self.origin = origin
        self._scaling = scaling
        self._parts = (source, *files)
        self.given_as(source)
        said = (scaling.note(stored) if scaling else None, self.spacing_doubt, *notes)
        self.notes = tuple(note for note in said if note)
        if layout.shape[0] % len(files):
            raise InputError(
                f"{source}: {layout.shape[0]} slices in {len(files)} files; must be equally many in each; correct it"
            )
        self.in_order = layout.packing is not None and len(files) == 1
        part = replace(layout, shape=(layout.shape[0] // len(files), *layout.shape[1:]))
        self._voxels = open_flat(files[0], part) if len(files) == 1 else FlatFiles(files, part)

    def given_as(self, location: Location, others: Sequence[Location] = ()) -> Self:
        """Take the other files of the volume, and `others`, for what lies beside the one that was given."""
        self.beside = tuple(dict.fromkeys(part for part in (*self._parts, *others) if part != location))
        return self

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = self._voxels.read(start, stop)
        return self._scaling.apply(slab) if self._scaling else slab

    def close(self) -> None:  # noqa: D102
        self._voxels.close()


def open_flat(location: Location, layout: FlatLayout) -> FlatVoxels:
    """Return the voxels of a file, opened. Raise `InputError` when it is not there or cannot hold them."""
    file = open_to_read(location)
    try:
        return FlatVoxels(file, layout, str(location))
    except BaseException:
        file.close()
        raise


def packing_at(location: Location, start: int) -> Packing:
    """Return how a stream is packed that begins at byte `start`, of which a header says only that it is."""
    with open_to_read(location) as file:
        file.seek(start)
        return _MAGIC.get(file.read(2), "zlib")


def beside(header: Location, name: str) -> Location:
    """Return the file that a header names, which must lie in the same folder.

    The name of one that was made where case does not matter may differ in it. Raise `InputError` when there is none,
    or the header names another folder.
    """
    name = name.removeprefix("./")
    if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise InputError(
            f"{header}: names {name[:200]!r} as its voxels; only files beside it are read; move them there and correct "
            "the name"
        )
    file = header.parent / name
    if not file.is_file():
        alike = [child for child in header.parent.children() if child.lower() == name.lower()]
        if len(alike) != 1:
            raise InputError(f"{header}: names {name[:200]!r} as its voxels; no such file beside it; restore it")
        file = header.parent / alike[0]
    require_inside(file, header)
    return file


def numbered(header: Location, pattern: str, numbers: range) -> list[Location]:
    """Return the files of a pattern like slice%03d.raw, in the order of their `numbers`, all in the header's folder.

    Raise `InputError` when the pattern is none or one of the files is not there.
    """
    if not _NUMBERED.fullmatch(pattern):
        raise InputError(f"{header}: names {pattern[:200]!r} as its voxels; must have one %d or %03d in it; correct it")
    return _all_there(header, len(numbers), (pattern % number for number in numbers))


def listed(header: Location, names: Sequence[str]) -> list[Location]:
    """Return the files that a header lists, all in its folder. Raise `InputError` when one is not there."""
    if not names:
        raise InputError(f"{header}: lists no files; restore it")
    return _all_there(header, len(names), iter(names))


def _all_there(header: Location, count: int, names: Iterator[str]) -> list[Location]:
    there = set(header.parent.children())
    files: dict[Location, None] = {}
    for name in names:
        if name not in there:
            raise InputError(f"{header}: names {count} files; {name[:200]!r} is not beside it; restore or correct it")
        file = header.parent / name
        if file in files:
            raise InputError(f"{header}: names {name[:200]!r} for several parts of its voxels; correct it")
        require_inside(file, header)
        files[file] = None
    return list(files)
