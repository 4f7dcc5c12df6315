"""A folder as a scan: which of its files are the slices, in which format, and who reads them.

A folder may hold more than slices: previews, logs, the slices of another program. TIFF and DICOM files are taken for
the scan where pictures beside them are no more than they are, as previews are; in any other mixture the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.bmp_slice import BMP
from ps3d_core.scan.companions import SLICE_SUFFIXES, scan_files
from ps3d_core.scan.dicom import DicomSeries, dicom_series, is_dicom
from ps3d_core.scan.jpeg2000 import JPEG_2000
from ps3d_core.scan.png_slice import PNG
from ps3d_core.scan.reader import CHOICES, ScanReader
from ps3d_core.scan.scanner_logs import logged_spacing, take_logged
from ps3d_core.scan.slice_format import SliceFormat
from ps3d_core.scan.slice_names import (
    chosen_by,
    has_gap,
    natural_order,
    one_series,
    order_note,
    series_in,
    unread_beside,
)
from ps3d_core.scan.slices import Slices
from ps3d_core.scan.suffixes import DICOM_SUFFIXES
from ps3d_core.scan.tiff_parts import TiffParts, are_parts
from ps3d_core.scan.tiff_slice import TIFF
from ps3d_core.scan.tiff_stack import TiffStack
from ps3d_core.store.kinds import not_usable
from ps3d_core.store.location import Location

_PICTURES: Final[dict[str, SliceFormat]] = {form.name: form for form in (TIFF, PNG, BMP, JPEG_2000)}
_DICOM: Final = "DICOM"
_SUFFIXES: Final = {**{name: form.suffixes for name, form in _PICTURES.items()}, _DICOM: DICOM_SUFFIXES}
_ORIGINALS: Final = ("TIFF", _DICOM)
"""Formats of which pictures in other formats are previews."""
_LOOKED_AT: Final = 4
"""Files that tell whether those of a folder are DICOM, before all are looked at."""
_JPEG: Final = (".jpg", ".jpeg", ".jpe", ".jfif")
_OVERVIEW: Final = re.compile(r".*_spr", re.IGNORECASE)
"""The radiograph that SkyScan's NRecon lays among the slices, to show where they are."""


class SliceFolder(ScanReader):
    """Opens folders: see `opened`, which returns the reader of what a folder holds."""

    takes = frozenset({"series", *TiffStack.takes})
    is_last = True

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether a folder, of whatever, is at `location`: what it lacks is said when it is opened."""
        return children is not None

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open the one scan in a folder, or the series of several; see `one_series`."""
        children = [name for name in location.children() if not name.startswith(".")]
        found = _slices_among(location, children, params.series)
        if found.kind == _DICOM:
            _refuse_choices(location, params)
            reader: ScanReader = DicomSeries(location, found.names, params)
            reader.notes += found.notes
            return reader
        names = one_series(found.names, str(location), series=params.series, allow_gaps=params.allow_gaps)
        reader = _reader_of(location, found.kind, names, params)
        reader.notes += tuple(filter(None, (order_note(names),)))
        unread = unread_beside(names, set(children) - set(found.names))
        if unread:
            reader.notes += (
                f"{len(unread)} files named like its slices are no {found.kind} files and not read, {unread[0]} the "
                "first; are they slices, too?",
            )
        reader.notes += found.overviews if unread else found.notes
        reader.notes += _scans_beside(children)
        if len(names) > 1 and not (isinstance(reader, TiffParts) and reader.spacing_doubt):
            logged = logged_spacing(location, names, reader.shape, sorted(set(children) - set(names)))
            take_logged(reader, logged, is_whole=not (params.allow_gaps and has_gap(names)))
        return reader


@dataclass(frozen=True, slots=True)
class _Found:
    """Slices of one format in a folder.

    Attributes:
        kind: the format.
        names: of the files, in natural order.
        overviews: notes about files that are no slices.
        others: note about files of other formats.

    """

    kind: str
    names: list[str]
    overviews: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """All that a person should hear of the other files."""
        return *self.overviews, *self.others


def series_of_slices(folder: Location, children: Sequence[str]) -> dict[str, int]:
    """Return how many slices each scan has among the files of a folder, by what chooses it with `series`.

    Raise `InputError` for a DICOM file that is no slice.
    """
    found = _by_format(folder, children)
    _without_overviews(found)
    kind = _the_kind(found) if found else None
    if kind is None:
        return {f"*{PurePosixPath(names[0]).suffix}": len(names) for names in found.values()}
    return dicom_series(folder, found[kind]) if kind == _DICOM else series_in(found[kind])


def _reader_of(folder: Location, kind: str, names: Sequence[str], params: SourceParams) -> ScanReader:
    if len(names) == 1 and kind == TIFF.name:
        return TiffStack.opened(folder / names[0], params)
    _refuse_choices(folder, params)
    if kind == TIFF.name and are_parts(folder, names):
        return TiffParts(folder, names)
    return Slices(folder, names, _PICTURES[kind])


def _refuse_choices(folder: Location, params: SourceParams) -> None:
    for option in sorted(TiffStack.takes & params.model_dump(exclude_defaults=True).keys()):
        raise InputError(f"{folder}: not {CHOICES[option]}", f"leave out <{option}>")


def _slices_among(folder: Location, children: Sequence[str], series: str | None) -> _Found:
    """Return the slices among the files of a folder, of the format that is the scan's or that `series` chooses."""
    found = _by_format(folder, children)
    overviews = _without_overviews(found)
    if not found:
        raise _no_slices(folder, children)
    chosen = {kind: names for kind, names in found.items() if series is not None and chosen_by(series, names)}
    if not chosen and series is not None and _DICOM in found:  # whose series are not told by names
        chosen = {_DICOM: found[_DICOM]}
    kind = _the_kind(chosen or found)
    if kind is None:
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in found.items())
        some = max(found.values(), key=len)[0]
        raise InputError(
            f"{folder}: slices in several formats: {counts} files",
            f'choose one with <series> "*{PurePosixPath(some).suffix}"',
            "move the others elsewhere",
        )
    others = [f"{len(names)} {other}" for other, names in found.items() if other != kind]
    said = f"{' and '.join(others)} files beside its {kind} files are not read"
    return _Found(kind, found[kind], tuple(overviews), (said,) if others and not chosen else ())


def _by_format(folder: Location, children: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of what may be slices by their format, in natural order."""
    found = {
        kind: natural_order(name for name in children if name.lower().endswith(suffixes))
        for kind, suffixes in _SUFFIXES.items()
    }
    found = {kind: names for kind, names in found.items() if names}
    if not found and (unnamed := _dicom_without_endings(folder, children)):
        found = {_DICOM: unnamed}
    return found


def _scans_beside(children: Sequence[str]) -> tuple[str, ...]:
    """Return a note about files beside slices that are scans by their names, else nothing."""
    scans = [name for name in scan_files(children) if not name.lower().endswith(SLICE_SUFFIXES)]
    return (f"{len(scans)} other scans beside it are not read, {scans[0]} the first",) if scans else ()


def _the_kind(found: dict[str, list[str]]) -> str | None:
    """Return the format of the scan: the only one, or the original beside previews; None where it may be any."""
    if len(found) == 1:
        return next(iter(found))
    originals = [kind for kind in _ORIGINALS if kind in found]
    if len(originals) != 1 or any(len(names) > len(found[originals[0]]) for names in found.values()):
        return None
    return originals[0]


def _without_overviews(found: dict[str, list[str]]) -> list[str]:
    """Take overviews out of the files that were found where slices remain, and return what is to be said of it."""
    notes = []
    for kind, names in list(found.items()):
        overviews = [name for name in names if _OVERVIEW.fullmatch(PurePosixPath(name).stem)]
        if overviews and len(overviews) < sum(map(len, found.values())):
            found[kind] = [name for name in names if name not in overviews]
            notes.append(f"{overviews[0]} is taken for an overview, not a slice")
            if not found[kind]:
                del found[kind]
    return notes


def _dicom_without_endings(folder: Location, children: Sequence[str]) -> list[str]:
    """Return the names of DICOM files that have no ending, as scanners and archives write them."""
    some = natural_order(name for name in children if name != "DICOMDIR")
    if not any(is_dicom(folder / name) for name in some[:_LOOKED_AT]):
        return []
    return [name for name in some if is_dicom(folder / name)]


def _no_slices(folder: Location, children: Sequence[str]) -> InputError:
    if (known := not_usable(folder, "volume")) is not None:
        return known
    lossy = [name for name in children if name.lower().endswith(_JPEG)]
    if lossy:
        return InputError(
            f"{folder}: {len(lossy)} JPEG files, {lossy[0]} the first; JPEG changes grey values to save space, so they "
            "are not those that were measured; export the slices as TIFF, PNG or BMP"
        )
    return InputError(f"{folder}: no slices (TIFF, PNG, BMP, JPEG 2000, DICOM) here; give the folder that holds them")
