"""Hand a volume to other programs: TIFF slices, one TIFF, NIfTI or OME-Zarr, streamed slab by slab."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.scan.image_writer import write_levels
from ps3d_core.scan.marks import ZARR_MARK
from ps3d_core.scan.nifti_writer import NIFTI_ENDINGS, write_nifti
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slabs import DEFAULT_MEMORY, deepest_slab, read_ahead
from ps3d_core.scan.sources import is_zarr, open_scan
from ps3d_core.scan.tiff_slices import TIFF_ENDINGS
from ps3d_core.scan.tiff_writer import SLICE_NAME, write_tiff, write_tiff_slices
from ps3d_core.store.arrays import SHARD
from ps3d_core.store.halving import method_for
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing, write_metadata
from ps3d_core.store.staging import all_or_nothing

Format = Literal["tiff", "nifti", "zarr"]


class ExportSummary(BaseModel):
    """What an export left behind."""

    model_config = ConfigDict(frozen=True)

    destination: str
    format: Format
    shape: Shape
    dtype: str
    spacing: Spacing | None


def export(
    source: str | Location,
    destination: str | Location,
    *,
    format: Format,
    spacing: float | Spacing | None = None,
    label: bool | None = None,
    slice_name: str = SLICE_NAME,
    overwrite: bool = False,
    allow_gaps: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    progress: Progress = SILENT,
    title: str = "export",
) -> ExportSummary:
    """Copy the volume at `source` (anything `open_scan` reads) to `destination`, in its dtype.

    tiff: one file when `destination` ends in .tif or .tiff (BigTIFF above 4 GB), else a folder of slices; nifti: a
    .nii or .nii.gz file; zarr: an OME-Zarr image. `spacing` in mm, one value or (z, y, x), replaces that of the
    source; voxels are not resampled. `label` says that voxels are ids; None takes it from the source. `slice_name` is
    that of single slices, see `write_tiff_slices`. An existing destination is replaced only with `overwrite`, and
    only when it is of a kind that is written here. `allow_gaps` accepts slices whose numbering leaves some out.
    `title` is what progress calls it.
    `InputError` names what is wrong; nothing is left of a failed export.
    """
    target = Location.parse(destination)
    _check_target(target, Location.parse(source), format, overwrite=overwrite)
    given = (spacing, spacing, spacing) if isinstance(spacing, float | int) else spacing
    if given is not None and not all(0 < side < 1000 for side in given):
        raise InputError(f"spacing {spacing}: must be above 0 and below 1000 mm; give the edge of a voxel in mm")
    with open_scan(source, allow_gaps=allow_gaps) as reader:
        size = given or reader.spacing
        for note in reader.notes:
            progress.note(f"{reader.description}: {note}")
        with all_or_nothing(target) as place, progress.stage(title, reader.shape[0], "slices") as stage:
            if format == "zarr":
                _write_zarr(reader, place, size, target.name, label=label, memory_bytes=memory_bytes, stage=stage)
            else:
                with closing(_counted(reader, memory_bytes, stage)) as slabs:
                    if format == "nifti":
                        packed = target.name.lower().endswith(".gz")
                        write_nifti(place, slabs, reader.shape, reader.dtype, size, compressed=packed)
                    elif target.name.lower().endswith(TIFF_ENDINGS):
                        write_tiff(place, slabs, reader.shape, reader.dtype, size)
                    else:
                        write_tiff_slices(place, slabs, reader.shape, size, slice_name)
        return ExportSummary(
            destination=str(target), format=format, shape=reader.shape, dtype=str(reader.dtype), spacing=size
        )


def _write_zarr(
    reader: ScanReader,
    place: Location,
    spacing: Spacing | None,
    name: str,
    *,
    label: bool | None,
    memory_bytes: int,
    stage: Stage,
) -> None:
    label = reader.is_label if label is None else label
    if label and reader.dtype.kind not in "iu":
        raise InputError(f"{reader.description}: labels of type {reader.dtype}; must be integers; convert them first")
    method = method_for(reader.dtype, label=label)
    shapes = write_levels(reader, place, method=method, memory_bytes=memory_bytes, stage=stage)
    write_metadata(place, shapes, spacing=spacing, name=name, label=label, method=method, attributes=ZARR_MARK)


def _counted(reader: ScanReader, memory_bytes: int, stage: Stage) -> Generator[npt.NDArray[Any], None, None]:
    depth = deepest_slab(reader.shape, reader.dtype, memory_bytes, most=SHARD, granule=reader.granule)
    with closing(read_ahead(reader, depth)) as slabs:
        for _, slab in slabs:
            stage.advance(len(slab))
            yield slab


def _check_target(target: Location, source: Location, form: Format, *, overwrite: bool) -> None:
    name = target.name.lower()
    if form == "nifti" and not name.endswith(NIFTI_ENDINGS):
        raise InputError(f"{target}: a NIfTI file must end in .nii or .nii.gz; name it so")
    if form == "tiff" and name.endswith(TIFF_ENDINGS) and target.local_path is None:
        raise InputError(f"{target}: one TIFF file needs a local folder; give one, or a name without .tif for slices")
    if _holds(target, source) or _is_part(target, source):
        raise InputError(f"{target}: the source lies there; choose another destination")
    if not target.exists():
        return
    if not overwrite:
        raise InputError(f"{target}: already exists", "replace it with <overwrite>", "choose another destination")
    if not _is_exported(target):
        raise InputError(f"{target}: holds something else than an exported volume; choose another destination")


def _holds(outer: Location, inner: Location) -> bool:
    """Whether `inner` is `outer` or lies below it, by whatever names and links either is reached."""
    here, there = outer.local_path, inner.local_path
    if here is None or there is None or not (here.exists() and there.exists()):
        return f"{inner}/".startswith(f"{outer}/")
    resolved = there.resolve()
    return any(folder.samefile(here) for folder in (resolved, *resolved.parents))


def _is_part(target: Location, source: Location) -> bool:
    """Whether `target` is one of the files that `source` is read from; others may lie beside these."""
    if not (_holds(source, target) and source.is_dir() and target.exists()):
        return False
    return is_zarr(source) or target.name.lower().endswith(TIFF_ENDINGS)


def _is_exported(target: Location) -> bool:
    """Whether what lies at `target` is of a kind that `export` writes, whole or broken off; an empty folder counts."""
    if not target.is_dir():
        return target.name.lower().endswith((*TIFF_ENDINGS, *NIFTI_ENDINGS))
    children = target.children()
    if all(child.lower().endswith(TIFF_ENDINGS) for child in children):
        return set(children) <= set(target.find(hidden=True))  # files, not folders named like them
    return is_zarr(target) or (all(child.isdecimal() for child in children) and is_zarr(target / "0"))
