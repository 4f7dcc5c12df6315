"""Open whatever a user names as a scan."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import Final, cast

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.array_volume import ArrayLike, ArrayVolume, folder_of, is_array
from ps3d_core.scan.crop import cropped
from ps3d_core.scan.not_a_number import without_nan
from ps3d_core.scan.reader import CHOICES, ScanReader
from ps3d_core.scan.readers import reader_of
from ps3d_core.scan.spacing import SAME, spacing_text
from ps3d_core.scan.suffixes import HDF5_SUFFIXES, PACKED_ZARR_SUFFIXES, READ, ZARR_FILES
from ps3d_core.store.kinds import not_usable
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

Source = str | os.PathLike[str] | Location | ArrayLike | ScanReader
"""What names a volume: a path, a URL, an array of this process, or what `open_scan` has opened."""
_HOLDING_SEVERAL: Final = "|".join(map(re.escape, HDF5_SUFFIXES + PACKED_ZARR_SUFFIXES))
_INSIDE: Final = re.compile(rf"(.*(?:{_HOLDING_SEVERAL}))::?(/.*)", re.IGNORECASE | re.DOTALL)
"""A file that holds several volumes, and the path of one of them in it."""


def open_scan(
    source: Source,
    params: SourceParams | None = None,
    *,
    spacing: Spacing | None = None,
    progress: Progress = SILENT,
) -> ScanReader:
    """Open a volume for reading: an array, or a file or folder of any format that is known.

    `source` is a path, any fsspec URL, an array (NumPy, Zarr, Dask), or an open reader. A file that holds several
    volumes may be followed by the path of one, `scan.h5:/entry/data`. `params` say what of the source is read, and
    how; see `SourceParams`. `spacing` (z, y, x) in mm takes the place of what the source says. Packages may add
    formats, see `ps3d_core.scan.readers`. Raise `InputError` that names what is wrong with the source.
    """
    params = with_inside(source, params or SourceParams())
    with ExitStack() as stack:
        reader = stack.enter_context(_opened(source, params))
        if spacing is not None:
            _state(reader, spacing)
        reader = cropped(reader, params)
        if params.nan is not None:
            reader = without_nan(reader, params.nan, progress)
        stack.pop_all()
        return reader


def place_of(source: Source) -> Location | None:
    """Return where a volume lies; None for an array that is in memory, or may be computed, and for an open one."""
    if isinstance(source, ScanReader):
        return None
    return folder_of(source) if is_array(source) else _place_and_inside(cast(str, source))[0]


def with_inside(source: Source, params: SourceParams) -> SourceParams:
    """Return `params` with the path inside of a file that a source names. Raise `InputError` where both name one."""
    is_open = isinstance(source, ScanReader) or is_array(source)
    inside = None if is_open else _place_and_inside(cast(str, source))[1]
    if inside is None:
        return params
    if params.inside not in (None, inside):
        raise InputError(f"{source}: names {inside}, and {params.inside} is asked for", "leave out <inside>")
    return params.model_copy(update={"inside": inside})


def is_zarr(location: Location) -> bool:
    """Return whether a Zarr array or group is at `location`; False where there is nothing."""
    return bool(ZARR_FILES & set(location.children()))


def _opened(source: Source, params: SourceParams) -> ScanReader:
    if isinstance(source, ScanReader):
        _require_taken(source.description, params, "an open scan")
        return source
    location = place_of(source)
    if location is None:
        array = ArrayVolume(cast(ArrayLike, source))
        _require_taken(array.description, params, "an array")
        return array
    if not location.exists():
        raise InputError(f"{location}: no such file or folder; check the path")
    children = location.children() if location.is_dir() else None
    if children is None:
        location.require_plain()
    if params.raw is not None and children is not None:
        raise InputError(f"{location}: a folder; a layout is that of one file", "leave out <raw>", "give the file")
    if (reader := reader_of(location, children, params)) is None:
        raise _unknown(location)
    said = params.model_dump(exclude_defaults=True)
    for name, what in CHOICES.items():
        if name in said and name not in reader.takes:
            raise InputError(f"{location}: not {what}", f"leave out <{name}>")
    return reader.opened(location, params)


def _require_taken(name: str, params: SourceParams, kind: str) -> None:
    """Raise `InputError` for parameters that say what of a file is read, of what is no file."""
    for option in sorted({*CHOICES, "raw"} & params.model_dump(exclude_defaults=True).keys()):
        raise InputError(f"{name}: {kind}, of which nothing can be chosen so", f"leave out <{option}>")


def _state(reader: ScanReader, spacing: Spacing) -> None:
    """Give a volume the spacing that a person says, and say so where the source says another."""
    own = reader.spacing
    if own and any(abs(side / stated - 1) > SAME for side, stated in zip(own, spacing, strict=True)):
        reader.notes += (f"spacing {spacing_text(spacing)} mm is used; the source says {spacing_text(own)} mm",)
    if own is None:  # its origin is in voxels
        z, y, x = (place * side for place, side in zip(reader.origin, spacing, strict=True))
        reader.origin = (z, y, x)
    reader.spacing, reader.spacing_from = spacing, "as given"


def _place_and_inside(source: str | os.PathLike[str] | Location) -> tuple[Location, str | None]:
    location = Location.parse(source)
    match = _INSIDE.fullmatch(location.url)
    if match is None or (location.local_path is not None and location.exists()):
        return location, None
    return Location(match[1]), match[2]


def _unknown(location: Location) -> InputError:
    """Return what to give instead of a file that no reader reads."""
    if location.is_listed and (known := not_usable(location, "volume")) is not None:
        return known
    if location.name.lower().endswith(".zip"):
        return InputError(f"{location}: a packed file; unpack it and give the folder")
    if not location.is_listed:
        return InputError(
            f"{location}: neither a Zarr nor a file of a known kind; of folders on web servers only Zarrs are read, as "
            "these servers list nothing; copy the folder, or give one file"
        )
    return InputError(
        f"{location}: unknown kind of file; give {READ}",
        "say with <raw> how its voxels lie, when it is nothing but voxels",
    )
