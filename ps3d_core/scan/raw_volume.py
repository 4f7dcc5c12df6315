"""Files of nothing but voxels, whose layout a header beside them says, or a person.

Either file may be given. Where several headers lie beside the voxels, they must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import same_spacing
from ps3d_core.params import SourceParams
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.flat import FlatLayout, Packing
from ps3d_core.scan.flat_volume import FlatVolume, beside
from ps3d_core.scan.metaimage import MetaImageVolume
from ps3d_core.scan.nrrd import NrrdVolume
from ps3d_core.scan.raw_fit import check_fit
from ps3d_core.scan.raw_headers import RawHeader, read_raw_header
from ps3d_core.scan.reader import ScanReader, scan_shape
from ps3d_core.scan.spacing import SAME, spacing_text
from ps3d_core.scan.suffixes import RAW_HEADER_SUFFIXES, RAW_SUFFIXES
from ps3d_core.source_texts import parsed_raw
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_OTHERS: Final[dict[str, type[MetaImageVolume] | type[NrrdVolume]]] = {".mhd": MetaImageVolume, ".nhdr": NrrdVolume}
"""Headers of formats of their own, which may be those of a raw file."""
_PACKINGS: Final[dict[str, Packing]] = {".gz": "gzip", ".bz2": "bzip2"}


class RawVolume(FlatVolume):
    """Raw voxels, as their header or a person says."""

    suffixes = RAW_SUFFIXES + RAW_HEADER_SUFFIXES
    takes = frozenset({"raw"})

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open voxels by what `params` say of them, or else by their header."""
        if params.raw is not None:
            return _as_said(location, params.raw)
        if not location.name.lower().endswith(RAW_HEADER_SUFFIXES):
            return _by_headers_beside(location)
        header = read_raw_header(location)
        data = _data_of(header)
        others = [other for other in _headers_of(data) if other.file != location]
        return _by_headers(data, [header, *others]).given_as(location, [other.file for other in others])


def _as_said(location: Location, text: str) -> ScanReader:
    said = parsed_raw(text)
    name = str(location)
    stored: np.dtype[Any] = np.dtype(said.dtype)
    shape = scan_shape(said.shape, name)
    packing = next((kind for suffix, kind in _PACKINGS.items() if location.name.lower().endswith(suffix)), None)
    behind = 0
    if packing is None:
        size = _size(location)
        check_fit(name, size, shape, stored, said.offset)
        behind = size - FlatLayout(shape, stored, said.offset or 0).end
    layout = FlatLayout(shape, stored, said.offset or 0, packing)
    if said.offset is not None:  # of what follows less than a slice
        layout = replace(layout, padding=layout.slice_bytes - 1)
    spacing, found_in, doubt = _measured_beside(location, shape)
    notes = (f"{behind} bytes behind the voxels are not read" if behind else None,)
    reader = RawVolume([location], layout, location, spacing=(spacing, doubt), notes=notes)
    reader.spacing_from = found_in
    reader.description = f"raw file {location.name} of {shape[0]} slices, as said"
    return reader.given_as(location, [location.parent / found_in] if found_in else [])


def _by_headers_beside(location: Location) -> ScanReader:
    if headers := list(_headers_of(location)):
        return _by_headers(location, headers).given_as(location, [header.file for header in headers])
    stem, names = _stem(location), _names_beside(location)
    for suffix, reader in _OTHERS.items():
        if name := names.get(f"{stem}{suffix}".lower()):
            return reader(location.parent / name).given_as(location)
    raise InputError(
        f"{location}: voxels without a header; none of {', '.join(f'{stem}{end}' for end in RAW_HEADER_SUFFIXES[:2])}, "
        f"{location.name}.info, {stem}.dat, {stem}.mhd lies beside it; put it there",
        "say with <raw> how the voxels lie, like 800x512x512,uint16,little,0 (Z x Y x X)",
    )


def _by_headers(data: Location, headers: list[RawHeader]) -> FlatVolume:
    """Open the voxels by the first header that says their shape; the others must not say otherwise."""
    whole = [header for header in headers if header.shape is not None]
    if not whole:
        raise InputError(
            f"{headers[0].file}: says nothing of the size of the volume; put the .pcr or .vgi of the scan beside it",
            "give the file of the voxels and say with <raw> how they lie",
        )
    size = _size(data)
    first, stored = whole[0], whole[0].stored(size)
    for other in whole[1:]:
        if (other.shape, other.stored(size), other.start) != (first.shape, stored, first.start):
            raise InputError(
                f"{data}: {first.file.name} and {other.file.name} say different things of its voxels, {first.shape} "
                f"{stored.name} and {other.shape} {other.stored(size).name}; move the wrong one away"
            )
    shape = scan_shape(first.shape or (), str(first.file))
    spacing, found_in, doubt = _measured(headers)
    unsaid = f"{first.file.name} does not say the type of voxels; by the size of the file it is {stored.name}"
    notes = (*first.notes, None if first.kind else unsaid)
    layout = FlatLayout(shape, stored, first.start)
    reader = RawVolume([data], layout, first.file, spacing=(spacing, doubt), notes=notes)
    reader.spacing_from = found_in
    reader.description = f"raw file {data.name} of {shape[0]} slices, by {first.file.name}"
    for name, volume in _by_other_formats(data):
        _compare(reader, volume, f"{data}: {first.file.name} and {name}")
    return reader


def _by_other_formats(data: Location) -> Iterator[tuple[str, FlatVolume]]:
    """Yield the volumes of headers of formats of their own that are called like the voxels and name them."""
    names = _names_beside(data)
    for suffix, kind in _OTHERS.items():
        name = names.get(f"{_stem(data)}{suffix}".lower())
        with suppress(InputError), ExitStack() as stack:
            if name is not None:
                other = stack.enter_context(kind(data.parent / name))
                if data in other.beside:
                    yield name, other


def _compare(reader: FlatVolume, other: FlatVolume, both: str) -> None:
    """Raise `InputError` where another header of the same voxels says others; of two spacings none is believed."""
    if (other.shape, other.dtype) != (reader.shape, reader.dtype):
        reader.close()
        raise InputError(
            f"{both} say different things of its voxels, {reader.shape} {reader.dtype} and {other.shape} "
            f"{other.dtype}; move the wrong one away"
        )
    if reader.spacing and other.spacing and not same_spacing(reader.spacing, other.spacing, SAME):
        said = f"{spacing_text(reader.spacing)} and {spacing_text(other.spacing)} mm"
        reader.spacing, reader.spacing_from = None, None
        reader.spacing_doubt = f"its spacing is not used: {both.rpartition('/')[2]} say {said}"
        reader.notes += (reader.spacing_doubt,)


_Measured = tuple[Spacing | None, str | None, str | None]
"""Spacing, the file it was found in, and why it is not believed."""


def _measured(headers: list[RawHeader]) -> _Measured:
    """Return the spacing of the first header that has one; two that differ are not believed."""
    found = [(header.file.name, header.spacing) for header in headers if header.spacing]
    if not found:
        return None, None, next((header.doubt for header in headers if header.doubt), None)
    name, spacing = found[0]
    for other, its in found[1:]:
        if any(abs(a / b - 1) > SAME for a, b in zip(spacing, its, strict=True)):
            said = f"{name} says {spacing_text(spacing)} mm, {other} says {spacing_text(its)} mm"
            return None, None, f"its spacing is not used: {said}"
    return spacing, name, None


def _measured_beside(data: Location, shape: Shape) -> _Measured:
    """Return the spacing by headers beside voxels of a `shape` that a person said.

    One that cannot be read, or is of another shape, is a doubt.
    """
    try:
        headers = list(_headers_of(data))
    except InputError as error:
        return None, None, f"a header beside it is not used: {error}"
    for header in headers:
        if header.shape not in (None, shape) and header.spacing:
            doubt = f"{header.file.name} is of {header.shape} voxels, not of {shape}: its spacing is not used"
            return None, None, doubt
    return _measured(headers)


def _headers_of(data: Location) -> Iterator[RawHeader]:
    """Yield the headers beside a file of voxels that are called like it, unless they name another one."""
    names, stem = _names_beside(data), _stem(data)
    for suffix in RAW_HEADER_SUFFIXES:
        for name in dict.fromkeys((f"{stem}{suffix}", f"{data.name}{suffix}")):
            if (found := names.get(name.lower())) and found != data.name:
                header = read_raw_header(data.parent / found)
                if header.data is None or header.data.lower() == data.name.lower():
                    yield header


def _data_of(header: RawHeader) -> Location:
    """Return the file of the voxels: the one that the header names, or one that is called like it."""
    names = _names_beside(header.file)
    if header.data is not None and header.data.lower() in names:
        return beside(header.file, names[header.data.lower()])
    if header.data is not None and not header.file.name.lower().endswith(".pcr"):
        return beside(header.file, header.data)  # which says that it is not there
    stem = _stem(header.file)
    for name in (stem, *(f"{stem}{suffix}" for suffix in RAW_SUFFIXES)):
        if (found := names.get(name.lower())) and found != header.file.name:
            return beside(header.file, found)
    raise InputError(f"{header.file}: a header without voxels; put {stem}.vol or {stem}.raw beside it")


def _names_beside(location: Location) -> dict[str, str]:
    """Return the names of the files in the same folder by themselves in lower case."""
    return {name.lower(): name for name in location.parent.children()}


def _stem(location: Location) -> str:
    return location.name.rpartition(".")[0]


def _size(location: Location) -> int:
    with open_to_read(location) as file:
        return size_of(file)
