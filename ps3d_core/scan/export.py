"""Hand a volume to other programs: TIFF slices, one TIFF, NIfTI, HDF5 or OME-Zarr, streamed slab by slab."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, Final, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import ExportParams
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.scan.authorship import (
    SLICE_FILES,
    ZARR_MARK,
    hdf5_is_marked,
    nifti_is_marked,
    slices_are_marked,
    tiff_is_marked,
)
from ps3d_core.scan.hdf5_writer import write_hdf5
from ps3d_core.scan.image_writer import write_levels
from ps3d_core.scan.nifti_writer import write_nifti
from ps3d_core.scan.plausible import spacing_note
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slabs import deepest_slab, read_ahead
from ps3d_core.scan.sources import Source, open_scan, place_of
from ps3d_core.scan.suffixes import BIG_TIFF_SUFFIXES, HDF5_SUFFIXES, NIFTI_SUFFIXES, TIFF_SUFFIXES
from ps3d_core.scan.tiff_writer import SLICE_NAME, write_tiff, write_tiff_slices
from ps3d_core.store.arrays import SHARD
from ps3d_core.store.claim import Output, claimed, holds_no_file
from ps3d_core.store.halving import method_for
from ps3d_core.store.identity import identities, require_unchanged
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing, write_metadata
from ps3d_core.store.ownership import ZARR_FILES, is_own, zarr_is_own
from ps3d_core.store.staging import all_or_nothing

Format = Literal["tiff", "nifti", "zarr", "hdf5"]

_SUFFIXES: Final = {
    "tiff": TIFF_SUFFIXES,
    "nifti": NIFTI_SUFFIXES,
    "zarr": (".zarr",),
    "hdf5": HDF5_SUFFIXES,
    "picture": (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".jp2"),
}
"""What a name that ends so is taken for."""


class ExportSummary(BaseModel):
    """Summary of an export: the place, format and volume that it wrote."""

    model_config = ConfigDict(frozen=True)

    destination: str
    format: Format
    shape: Shape
    dtype: str
    spacing: Spacing | None


def export(
    source: Source,
    destination: str | Location,
    params: ExportParams,
    *,
    slice_name: str = SLICE_NAME,
    memory_bytes: int = SLABS_BYTES,
    progress: Progress = SILENT,
    title: str = "export",
) -> ExportSummary:
    """Copy the volume at `source` (anything `open_scan` reads) to `destination`, in its dtype.

    tiff: one file when `destination` ends in .tif or .tiff (BigTIFF above 4 GB, or when it ends in .btf), else a
    folder of slices; nifti: a .nii or .nii.gz file; zarr: an OME-Zarr image; hdf5: NeXus. A spacing in `params`
    replaces that of the source; voxels are not resampled. `slice_name` is that of single slices, see
    `write_tiff_slices`. An existing destination is replaced only when `params` say so, and only when ps3d made it.
    `title` is what progress calls it. Raise `InputError` that names what is wrong; nothing is left of a failed export.
    """
    target, origin, format = Location.parse(destination), place_of(source), params.format
    _check_name(target, format)
    output, known = _output(target, format)
    inputs = [] if origin is None else [origin]
    with claimed("export", [output], inputs=inputs, say=progress.note), ExitStack() as stack:
        if target.exists() and not holds_no_file(target) and not is_own(target) and not params.overwrite:
            raise InputError(f"{target}: already exists", "replace it with <overwrite>", "choose another destination")
        before = identities(inputs)
        reader = stack.enter_context(open_scan(source, params, spacing=params.spacing, progress=progress))
        before |= identities(reader.beside)
        size = reader.spacing
        if size and (note := spacing_note(size)) is not None:
            progress.note(note)
        for note in reader.notes:
            progress.note(f"{reader.description}: {note}")
        making = all_or_nothing(output, known=known, finish=partial(require_unchanged, before))
        with making as place, progress.stage(title, reader.shape[0], "slices") as stage:
            if format == "zarr":
                label = reader.is_label if params.labels is None else params.labels
                _write_zarr(reader, place, size, target.name, label=label, memory_bytes=memory_bytes, stage=stage)
            else:
                with closing(_counted(reader, memory_bytes, stage)) as slabs:
                    if format == "nifti":
                        packed = target.name.lower().endswith(".gz")
                        write_nifti(place, slabs, reader.shape, reader.dtype, size, compressed=packed)
                    elif format == "hdf5":
                        write_hdf5(place, slabs, reader.shape, reader.dtype, size)
                    elif target.name.lower().endswith(TIFF_SUFFIXES):
                        big = target.name.lower().endswith(BIG_TIFF_SUFFIXES)
                        write_tiff(place, slabs, reader.shape, reader.dtype, size, big=big)
                    else:
                        write_tiff_slices(place, slabs, reader.shape, size, slice_name)
        for finding in reader.findings:
            progress.note(f"{reader.description}: {finding}")
        return ExportSummary(
            destination=str(target), format=format, shape=reader.shape, dtype=str(reader.dtype), spacing=size
        )


def _write_zarr(
    reader: ScanReader,
    place: Location,
    spacing: Spacing | None,
    name: str,
    *,
    label: bool,
    memory_bytes: int,
    stage: Stage,
) -> None:
    if label and reader.dtype.kind not in "iu":
        raise InputError(f"{reader.description}: labels of type {reader.dtype}; must be integers; convert them first")
    method = method_for(reader.dtype, label=label)
    shapes = write_levels(reader, place, method=method, memory_bytes=memory_bytes, stage=stage)
    write_metadata(place, shapes, spacing=spacing, name=name, label=label, method=method, attributes=ZARR_MARK)


def _counted(reader: ScanReader, memory_bytes: int, stage: Stage) -> Generator[npt.NDArray[Any], None, None]:
    depth = deepest_slab(reader.shape, reader.dtype, memory_bytes, most=SHARD, chunk_depth=reader.chunk_depth)
    with closing(read_ahead(reader, depth)) as slabs:
        for _, slab in slabs:
            stage.advance(len(slab))
            yield slab


def _check_name(target: Location, form: Format) -> None:
    name = target.name.lower()
    meant = next((other for other, suffixes in _SUFFIXES.items() if name.endswith(suffixes)), form)
    if meant not in (form, "picture"):
        raise InputError(
            f"{target}: named like {meant}, to be written as {form}", "correct <format>", "name it otherwise"
        )
    if meant == "picture":
        raise InputError(f"{target}: named like a picture, which is not written; name it like TIFF, NIfTI or a Zarr")
    if form == "nifti" and not name.endswith(NIFTI_SUFFIXES):
        raise InputError(f"{target}: a NIfTI file must end in .nii or .nii.gz; name it so")
    if form == "hdf5" and not name.endswith(HDF5_SUFFIXES):
        raise InputError(f"{target}: an HDF5 file must end in .h5, .hdf5 or .nxs; name it so")
    if form == "hdf5" and target.local_path is None:
        raise InputError(f"{target}: an HDF5 file needs a local folder; give one, or export as zarr")
    if form == "tiff" and name.endswith(TIFF_SUFFIXES) and target.local_path is None:
        raise InputError(f"{target}: one TIFF file needs a local folder; give one, or a name without .tif for slices")


def _output(target: Location, form: Format) -> tuple[Output, re.Pattern[str] | None]:
    """Return what is made, and the names of its files; None for a single file."""
    if form == "zarr":
        return Output(target, zarr_is_own), ZARR_FILES
    if form == "nifti":
        return Output(target, nifti_is_marked), None
    if form == "hdf5":
        return Output(target, hdf5_is_marked), None
    if target.name.lower().endswith(TIFF_SUFFIXES):
        return Output(target, tiff_is_marked), None
    return Output(target, slices_are_marked), SLICE_FILES
