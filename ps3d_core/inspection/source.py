"""A look at a source before it is ingested: what would be read, what it would cost, and three of its slices.

A few slices all over the scan are read, so that a look takes seconds whatever the size of the scan; only what is packed
as one stream is unpacked to its end. A folder that is no scan itself is looked through for what could be given instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numcodecs import Zstd
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.duration import duration_text
from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.params import SourceParams
from ps3d_core.particles.overlay import grey_pictures
from ps3d_core.particles.report_sections import data_url
from ps3d_core.particles.rounding import round_length, significant
from ps3d_core.particles.templating import rendered
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.companions import scan_files, stem_and_ending
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.plausible import spacing_note
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.readers import reader_of
from ps3d_core.scan.slice_folder import series_of_slices
from ps3d_core.scan.sources import open_scan, place_of
from ps3d_core.scan.spacing import spacing_text
from ps3d_core.store.layout import is_usable
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

PARTS: Final = 8
"""Equal parts of the scan, at whose ends slices are looked at."""
PICTURED: Final = (2, 4, 6)
"""Those of the slices that are shown: at a quarter, in the middle, at three quarters."""
_LEVELS: Final = 8 / 7
"""Voxels of all resolution levels, of those of the finest."""
_MOST_VALUES: Final = 2**20
_SIDE: Final = 512
_NAMED: Final = 40
_MARK: Final = b'<meta name="generator" content="ps3d look">'
_BEGINNING: Final = 1024


class SourceLook(BaseModel):
    """What would be read of a source, and what of it was seen in some of its slices."""

    model_config = ConfigDict(frozen=True)

    source: str
    description: str = Field(description="what was opened")
    shape: Shape = Field(description="(z, y, x), voxels")
    dtype: str
    spacing: Spacing | None = Field(description="(z, y, x), mm; none when the source does not say it")
    spacing_from: str = Field(description="where the spacing was found, or why there is none")
    origin: Spacing = Field(description="position of the first voxel (z, y, x), mm")
    slices: int = Field(description="that were looked at")
    values: tuple[float, ...] = Field(description="least, 1 %, median, 99 %, greatest; none when all are NaN")
    not_numbers: float = Field(description="share of the voxels that are NaN or infinite")
    source_bytes: int = Field(description="size of the source on its store")
    dataset_bytes: int = Field(description="size of the scan in a dataset, estimated from these slices")
    seconds: float = Field(description="time that an ingest would take on this machine, estimated from these slices")
    notes: tuple[str, ...] = ()

    @property
    def size_mm(self) -> Spacing | None:
        """Extent of the scan (z, y, x), mm."""
        if self.spacing is None:
            return None
        z, y, x = (side * edge for side, edge in zip(self.shape, self.spacing, strict=True))
        return z, y, x


@dataclass(frozen=True)
class SlicePicture:
    """A slice as a picture."""

    index: int
    """Number of the slice."""
    png: bytes
    """File of the picture."""
    aspect: float
    """Width of the slice by its height, as lengths."""
    width: float
    """Width of the slice, mm, or voxels where the spacing is unknown."""


def look(
    source: str | Location,
    params: SourceParams | None = None,
    *,
    spacing: Spacing | None = None,
    progress: Progress = SILENT,
) -> tuple[SourceLook, list[SlicePicture]]:
    """Open a source as an ingest with these `params` would, and look at some of its slices.

    `spacing` (z, y, x) in mm takes the place of what the source says. Raise `InputError` for what would be refused.
    """
    params = (params or SourceParams()).model_copy(update={"nan": None})
    with open_scan(source, params, spacing=spacing) as reader:
        indices = [round(part * (reader.shape[0] - 1) / PARTS) for part in range(PARTS + 1)]
        seen, seconds = {}, 0.0
        with progress.stage("look", len(indices), "slices") as stage:
            for index in indices:
                before = time.perf_counter()
                if index not in seen:
                    seen[index] = reader.read(index, index + 1)[0]
                    seconds += time.perf_counter() - before
                stage.advance(1)
        place = place_of(source)
        slices = list(seen.values())
        seconds *= reader.shape[0] / _decoded(reader, list(seen))
        facts = _facts(str(source), reader, slices, seconds, 0 if place is None else _bytes_of(place, reader))
        return facts, _pictures(reader, [(indices[part], seen[indices[part]]) for part in PICTURED])


def _decoded(reader: ScanReader, indices: list[int]) -> int:
    """Return how many slices had to be decoded for those of these `indices`."""
    if reader.in_order:
        return max(indices) + 1
    depth = max(1, reader.chunk_depth)
    return min(reader.shape[0], len({index // depth for index in indices}) * depth)


def _facts(
    source: str, reader: ScanReader, slices: list[npt.NDArray[Any]], seconds: float, source_bytes: int
) -> SourceLook:
    values = np.concatenate([_some(plane) for plane in slices])
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    before = time.perf_counter()
    packed = sum(len(Zstd(level=1).encode(np.ascontiguousarray(plane))) for plane in slices)
    encoding = time.perf_counter() - before
    scale = reader.shape[0] / len(slices)
    ranks = tuple(float(value) for value in np.percentile(finite, (0, 1, 50, 99, 100))) if finite.size else ()
    notes = [*reader.notes, *reader.findings]
    if reader.spacing and (note := spacing_note(reader.spacing)) is not None:
        notes.append(note)
    if not finite.size:
        notes.append("no voxel looked at is a finite number: is it the right source?")
    elif ranks[0] == ranks[-1]:
        notes.append(f"every voxel looked at is {ranks[0]:g}: is it the right source?")
    return SourceLook(
        source=source,
        description=reader.description,
        shape=reader.shape,
        dtype=str(reader.dtype),
        spacing=reader.spacing,
        spacing_from=reader.without_spacing if reader.spacing is None else reader.spacing_from or "as the source says",
        origin=reader.origin,
        slices=len(slices),
        values=ranks,
        not_numbers=1 - finite.size / values.size,
        source_bytes=source_bytes,
        dataset_bytes=round(packed * scale * _LEVELS),
        seconds=max(seconds, encoding * _LEVELS * scale),
        notes=tuple(dict.fromkeys(notes)),
    )


def _some(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values of a slice, at most about a million."""
    step = max(1, round((plane.size / _MOST_VALUES) ** 0.5))
    return plane[::step, ::step].reshape(-1)


def _pictures(reader: ScanReader, slices: list[tuple[int, npt.NDArray[Any]]]) -> list[SlicePicture]:
    _, height, width = reader.shape
    _, edge_y, edge_x = reader.spacing or (1.0, 1.0, 1.0)
    files = grey_pictures([plane for _, plane in slices], _SIDE)
    aspect = width * edge_x / (height * edge_y)
    return [SlicePicture(index, png, aspect, width * edge_x) for (index, _), png in zip(slices, files, strict=True)]


def _bytes_of(place: Location, reader: ScanReader) -> int:
    if place.is_dir():
        return sum(int(info["size"] or 0) for info in place.find(hidden=True).values())
    return sum(map(_file_bytes, {place.url: place, **{file.url: file for file in reader.beside}}.values()))


def _file_bytes(file: Location) -> int:
    with open_to_read(file) as opened:
        return size_of(opened)


def scans_in(folder: Location) -> list[tuple[str, str | None, str]]:
    """Return what in a folder could be given as a scan: its place, series where one must be chosen, what it is.

    Empty for a file, and for a folder that is one scan. Only names and the beginnings of files are looked at.
    """
    if not folder.is_dir():
        return []
    with suppress(InputError, OSError), open_scan(folder):
        return []
    names = [name for name in folder.children() if not name.startswith(".")]
    if len(series := series_of_slices(folder, names)) > 1:
        return [(str(folder), pattern, f"{count} slices") for pattern, count in series.items()]
    return list(_below(folder, names))[:_NAMED]


def _below(folder: Location, names: list[str]) -> Iterator[tuple[str, str | None, str]]:
    """Yield the scans among the children of a folder."""
    parts = {name for name in names if stem_and_ending(name)} - set(scan_files(names))
    for name in [name for name in names if name not in parts][: 20 * _NAMED]:
        place = folder / name
        children = place.children() if place.is_dir() else None
        reader = reader_of(place, children, SourceParams())
        if reader is None or children == []:
            continue
        with suppress(InputError, OSError), open_scan(place) as opened:
            yield str(place), None, f"{opened.description}, {opened.dtype}"


def name_for(source: str) -> str:
    """Return a usable name for the scan of a source: its last part without endings."""
    place = place_of(source)
    name = "" if place is None else place.name.removesuffix(".zarr")
    stem, _ = stem_and_ending(name) or (name, "")
    name = re.sub(r"[^\w\-]+", "-", stem).strip("-_")
    return name if is_usable(name) else "scan"


def page_of(seen: SourceLook, pictures: list[SlicePicture], command: str) -> str:
    """Return a page of HTML, which shows itself in any browser, about a look, with the `command` that ingests."""
    shown = [{"picture": each, "url": data_url(each.png), "bar": round_length(each.width / 4)} for each in pictures]
    unit = "mm" if seen.spacing else "voxels"
    return rendered("source.html.jinja", seen=seen, lines=lines_of(seen), pictures=shown, unit=unit, command=command)


def write_page(page: Location, text: str) -> None:
    """Write the page of a look; raise `InputError` when something else lies there."""
    if page.is_dir() or (page.exists() and _MARK not in page.read_start(_BEGINNING)):
        raise InputError(f"{page}: already exists and is no page of a look", "say with <page> where to write it")
    page.write_text(text)


def lines_of(seen: SourceLook) -> list[tuple[str, str]]:
    """Return what was seen as pairs of a word and a text."""
    lines = [("shape", f"{shape_text(seen.shape)} voxels (z, y, x), {seen.dtype}"), ("voxel", _spacing_text(seen))]
    if (size := seen.size_mm) is not None:
        lines.append(("size", " x ".join(significant(side) for side in size) + " mm"))
    if any(seen.origin):
        lines.append(("origin", ", ".join(significant(side) for side in seen.origin) + (" mm" if seen.spacing else "")))
    if seen.values:
        least, low, middle, high, greatest = map(significant, seen.values)
        lines.append(("values", f"{least} to {greatest}, 98 of 100 from {low} to {high}, median {middle}"))
    if seen.not_numbers:
        lines.append(("NaN", f"{seen.not_numbers:.2%} of the voxels are no finite numbers; --nan says what they are"))
    lines.append(("axes", "as stored: slices along z, rows along y, columns along x"))
    now, then = _bytes_text(seen.source_bytes), _bytes_text(seen.dataset_bytes)
    lines.append(("disk", f"{now} now, about {then} in a dataset"))
    lines.append(("time", f"about {duration_text(max(1, seen.seconds))} to ingest"))
    return lines


def _spacing_text(seen: SourceLook) -> str:
    if seen.spacing is None:
        return f"unknown: {seen.spacing_from}"
    return f"{spacing_text(seen.spacing)} mm, {seen.spacing_from}"


def _bytes_text(count: float) -> str:
    units = iter(("bytes", "KiB", "MiB", "GiB"))
    unit = next(units)
    while count >= 1024 and unit != "GiB":
        count, unit = count / 1024, next(units)
    return f"{significant(count)} {unit}"
