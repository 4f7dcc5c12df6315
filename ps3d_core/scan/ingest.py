"""Bring a scan into a dataset: any source in, one OME-Zarr image and one line of metadata.json out, or nothing.

The image grows beside its place and is moved there when whole; metadata.json follows. See `store.staging`.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, mean_spacing, per_axis, per_axis_text
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import CopyParams, IngestParams
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.quantities import StatedSize
from ps3d_core.scan.image_writer import write_levels
from ps3d_core.scan.label_checks import LabelSizes
from ps3d_core.scan.plausible import spacing_note
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slabs import read_ahead
from ps3d_core.scan.sources import Source, open_scan, place_of
from ps3d_core.scan.spacing import checked_spacing, nearly_one
from ps3d_core.scan.whole_labels import as_labels
from ps3d_core.store.claim import Output, claimed
from ps3d_core.store.halving import method_for
from ps3d_core.store.identity import identities, require_unchanged
from ps3d_core.store.layout import Dataset, ScanInfo
from ps3d_core.store.location import Location
from ps3d_core.store.ome import GROUP_FILE, image_origin, open_image, write_metadata
from ps3d_core.store.ownership import MARK, zarr_attributes, zarr_is_own
from ps3d_core.store.staging import all_or_nothing, is_unfinished
from ps3d_core.version import __version__

LEAST_VOXELS = 2.0  # a particle of fewer voxels across cannot be told from noise


class IngestSummary(BaseModel):
    """Summary of an ingest: the image that it made, and what its voxels are."""

    model_config = ConfigDict(frozen=True)

    name: str
    image: str
    shape: Shape
    dtype: str
    spacing: StatedSpacing
    particle_size: StatedSize
    levels: int
    sha256: str
    minimum: float
    maximum: float
    seconds: float


def ingest(
    source: Source,
    dataset: Dataset,
    name: str,
    params: IngestParams,
    *,
    memory_bytes: int = SLABS_BYTES,
    progress: Progress = SILENT,
) -> IngestSummary:
    """Copy the scan `source` (see `open_scan`) into `dataset` under `name`, in the scanner's dtype.

    A spacing of None is taken from the source where it says one. `memory_bytes` bounds what is held at once; less
    memory means flatter shards. An existing scan is replaced only when `params` say so, and only when ps3d made it.
    Raise `InputError` that names what is wrong; nothing is left of a failed ingest, and what a killed one left is taken
    up by the next.
    """
    started = time.perf_counter()
    origin, target = place_of(source), dataset.image(name)
    inputs = [] if origin is None else [origin]
    output = Output(target, zarr_is_own)
    with claimed("ingest", [output], inputs=inputs, say=progress.note), ExitStack() as stack:
        _require_new(dataset, name, overwrite=params.overwrite)
        before = identities(inputs)
        reader = stack.enter_context(open_scan(source, params, spacing=params.edges, progress=progress))
        before |= identities(reader.beside)
        spacing, particle_size = _checked_spacing(reader, params, progress), params.particle_size
        if particle_size != "auto":
            _check_particle_size(reader.shape, spacing, particle_size)
        _tell(reader, reader.notes, progress)
        content = _Content(str(origin or reader.description))

        def enter() -> None:
            require_unchanged(before)
            dataset.add_scan(name, spacing, particle_size, progress.note, particles=params.particles)
            _enter_sample(dataset, name, params, progress)

        making = all_or_nothing(output, finish=enter)
        with making as place, progress.stage("ingest", reader.shape[0], "slices") as stage:
            levels = _write(reader, place, name, spacing, content, memory_bytes=memory_bytes, stage=stage)
        _tell(reader, reader.findings + content.notes(), progress)
        return IngestSummary(
            name=name,
            image=str(target),
            shape=reader.shape,
            dtype=str(reader.dtype),
            spacing=spacing,
            particle_size=particle_size,
            levels=levels,
            seconds=time.perf_counter() - started,
            **content.summary(),
        )


def _write(
    reader: ScanReader,
    image: Location,
    name: str,
    spacing: StatedSpacing,
    content: _Content,
    *,
    memory_bytes: int,
    stage: Stage,
) -> int:
    """Write all levels and the metadata of an image; return how many levels there are."""
    method = method_for(reader.dtype, label=False)
    shapes = write_levels(reader, image, method=method, memory_bytes=memory_bytes, stage=stage, inspect=content.add)
    write_metadata(
        image,
        shapes,
        spacing=spacing,
        origin=reader.origin,
        name=name,
        method=method,
        attributes={MARK: {**_provenance(reader), **content.summary()}},
    )
    return len(shapes)


def _enter_sample(dataset: Dataset, name: str, params: IngestParams, progress: Progress) -> None:
    """Keep the sample data of a scan; those that somebody has put there stay where none are given."""
    file = dataset.sample(name)
    if params.sample:
        file.write_json(params.sample)
    elif file.exists():
        progress.note(f"scan {name!r}: sample data are as {file} says; give others, or remove it")


def _require_new(dataset: Dataset, name: str, *, overwrite: bool) -> None:
    """Raise `InputError` when the dataset has the scan already; what a killed ingest left does not count."""
    target, entered = dataset.image(name), name in dataset.read_metadata()  # a damaged metadata.json is found here
    begun = is_unfinished(target) and not entered
    if (target / GROUP_FILE).exists() and not (overwrite or begun):
        raise InputError(
            f"scan {name!r}: already in {dataset.root}", "replace it with <overwrite>", "give another <name>"
        )


def _provenance(reader: ScanReader) -> dict[str, str]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"source": reader.description, "ingested": now, "version": __version__}


def same_voxels(source: Source, image: Location) -> bool:
    """Return whether `source` has the dtype, shape and voxels of what was ingested as `image`.

    Reads all of the source when dtype and shape are the same.
    """
    about, array = zarr_attributes(image).get(MARK), open_image(image)
    with open_scan(source) as reader:
        if not isinstance(about, dict) or (reader.shape, reader.dtype) != (array.shape, array.dtype):
            return False
        content = _Content(reader.description)
        for _ in read_ahead(reader, max(1, reader.chunk_depth), content.add):
            pass
    return bool(content.summary()["sha256"] == about.get("sha256"))


class LabelsSummary(BaseModel):
    """Summary of an ingest of labels: the image that it made, and what its voxels are."""

    model_config = ConfigDict(frozen=True)

    name: str
    labels: str
    shape: Shape
    dtype: str
    highest: int
    seconds: float


def ingest_labels(
    source: Source,
    dataset: Dataset,
    name: str,
    params: CopyParams | None = None,
    *,
    memory_bytes: int = SLABS_BYTES,
    progress: Progress = SILENT,
) -> LabelsSummary:
    """Copy instance labels at `source` (see `open_scan`) into `dataset`, to the scan `name` that they belong to.

    Labels are whole numbers, 0 is background, every other number is one particle; their shape is that of the scan.
    Integers keep their dtype, floats become uint32. Their spacing is the scan's, also where it turns a crop in lengths
    into voxels. Labels that can hardly be particles of the scan's particle size are refused, and those that begin
    elsewhere than the scan are noted. Raise `InputError` that names what is wrong; nothing is left of a failed ingest.
    """
    started, params = time.perf_counter(), params or CopyParams()
    origin, target, info = place_of(source), dataset.truth(name), dataset.scan_info(name)
    output, inputs = Output(target, zarr_is_own), [] if origin is None else [origin]
    with claimed("ingest", [output], inputs=inputs, say=progress.note), ExitStack() as stack:
        scan_shape = tuple(open_image(dataset.require_image(name)).shape)
        if (target / GROUP_FILE).exists() and not params.overwrite:
            raise InputError(f"scan {name!r}: already has labels, {target}", "replace them with <overwrite>")
        before = identities(inputs)
        z, y, x = (edge / params.every for edge in info.spacing_zyx)
        reader = stack.enter_context(as_labels(open_scan(source, params, spacing=(z, y, x))))
        before |= identities(reader.beside)
        if reader.shape != scan_shape:
            raise InputError(
                f"{reader.description}: labels of {reader.shape} voxels, scan {name!r} of {scan_shape}: must be the "
                "same; give the labels of this scan"
            )
        first = image_origin(dataset.image(name))
        _tell(reader, (*reader.notes, *_elsewhere(reader, first, info.spacing_zyx)), progress)
        sizes = LabelSizes()
        look = partial(_add_labels, sizes, str(origin or reader.description))
        method = method_for(reader.dtype, label=True)
        making = all_or_nothing(output, finish=partial(require_unchanged, before))
        with making as place, progress.stage("ingest", reader.shape[0], "slices") as stage:
            shapes = write_levels(reader, place, method=method, memory_bytes=memory_bytes, stage=stage, inspect=look)
            _require_particles(sizes, reader, name, info)
            write_metadata(place, shapes, spacing=info.spacing, name=name, label=True, origin=first, method=method)
        return LabelsSummary(
            name=name,
            labels=str(target),
            shape=reader.shape,
            dtype=str(reader.dtype),
            highest=sizes.highest,
            seconds=time.perf_counter() - started,
        )


def _elsewhere(reader: ScanReader, first: Spacing, edges: Spacing) -> tuple[str, ...]:
    """Return a note about labels that say that they begin elsewhere than their scan, else nothing."""
    apart = (abs(a - b) > edge / 10 for a, b, edge in zip(reader.origin, first, edges, strict=True))
    if not (any(reader.origin) and any(apart)):
        return ()
    return (
        f"these labels begin at {_place_text(reader.origin)} mm (z, y, x), the scan at {_place_text(first)}: are they "
        "of the same part?",
    )


def _place_text(place: Spacing) -> str:
    return ", ".join(f"{value:g}" for value in place)


def _add_labels(sizes: LabelSizes, origin: str, start: int, slab: npt.NDArray[Any]) -> None:
    """Count the labels of slices that begin at `start`; raise `InputError` for one below 0."""
    if (low := int(slab.min())) < 0:
        raise InputError(
            f"{origin}: label {low} in slices {start} to {start + len(slab) - 1}; must be 0 or above; mend the labels"
        )
    sizes.add(slab)


def _require_particles(sizes: LabelSizes, reader: ScanReader, name: str, info: ScanInfo) -> None:
    """Raise `InputError` when the labels can hardly be particles of the scan's particle size."""
    if not sizes.highest:
        raise InputError(f"{reader.description}: no label above 0; give instance labels, one number per particle")
    size = info.particle_size_mm
    if (problem := sizes.problem(size / info.mean_spacing)) is not None:
        raise InputError(
            f"{reader.description}: {problem}; give one number per particle and 0 for background, or correct "
            f"particle_size of {name!r} in metadata.json ({size:g} mm)"
        )


class _Content:
    """Digest and range of the voxels, gathered as they stream by in C order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._digest = hashlib.sha256()
        self._minimum: Any = np.inf
        self._maximum: Any = -np.inf

    def add(self, start: int, slab: npt.NDArray[Any]) -> None:
        low, high = slab.min(), slab.max()
        if not (isfinite(low) and isfinite(high)):
            raise InputError(
                f"{self._name}: grey values that are infinite or not a number in slices {start} to "
                f"{start + len(slab) - 1}",
                "say with <nan> which value stands for them, for example that of air",
            )
        self._digest.update(slab.data)
        self._minimum, self._maximum = min(self._minimum, low), max(self._maximum, high)

    def notes(self) -> tuple[str, ...]:
        """Return a note about a scan in which there is nothing to see, all voxels being equal; else nothing."""
        if self._minimum != self._maximum:
            return ()
        return (f"every voxel is {self._minimum}: no particles can be found in it; is it the right source?",)

    def summary(self) -> dict[str, Any]:
        """Return the SHA-256 of all voxels (native byte order, C order), their least and greatest value."""
        low, high = np.asarray(self._minimum).item(), np.asarray(self._maximum).item()
        return {"sha256": self._digest.hexdigest(), "minimum": low, "maximum": high}


def _tell(reader: ScanReader, notes: tuple[str, ...], progress: Progress) -> None:
    for note in notes:
        progress.note(f"{reader.description}: {note}")


def _checked_spacing(reader: ScanReader, params: IngestParams, progress: Progress) -> StatedSpacing:
    own = reader.spacing
    if own is None:
        raise InputError(
            f"{reader.description}: {reader.without_spacing}",
            "give <spacing>, the edge of a voxel in mm",
        )
    spacing = checked_spacing(nearly_one(own) if params.spacing is None else own)
    if (note := spacing_note(per_axis(spacing))) is not None:
        progress.note(note)
    return spacing


def _check_particle_size(shape: Shape, spacing: StatedSpacing, particle_size: float) -> None:
    least = LEAST_VOXELS * mean_spacing(spacing)
    most = max(n * side for n, side in zip(shape, per_axis(spacing), strict=True))
    if not (isfinite(particle_size) and least <= particle_size <= most):
        raise InputError(
            f"particle size {particle_size:g} mm: must be {least:g} mm ({LEAST_VOXELS:g} voxels) to {most:g} mm (the "
            f"longest side of the scan) at a spacing of {per_axis_text(spacing)} mm",
            "correct <particle_size> or <spacing>",
        )
