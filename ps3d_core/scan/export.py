"""Hand a volume to other programs: TIFF slices, one file of many a format, or OME-Zarr, streamed slab by slab."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
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
    flat_is_marked,
    hdf5_is_marked,
    nifti_is_marked,
    slices_are_marked,
    tiff_is_marked,
)
from ps3d_core.scan.flat_writer import write_mha, write_nrrd
from ps3d_core.scan.hdf5_writer import write_hdf5
from ps3d_core.scan.image_writer import write_levels
from ps3d_core.scan.nifti_writer import write_nifti
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.plausible import spacing_note
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slabs import Slabs, deepest_slab, read_ahead
from ps3d_core.scan.sources import Source, open_scan, place_of
from ps3d_core.scan.suffixes import (
    HDF5_SUFFIXES,
    METAIMAGE_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    PICTURE_SUFFIXES,
    TIFF_SUFFIXES,
)
from ps3d_core.scan.tiff_writer import SLICE_NAME, write_tiff, write_tiff_slices
from ps3d_core.store.arrays import SHARD
from ps3d_core.store.claim import Output, claimed, holds_no_file
from ps3d_core.store.deriving import deriving
from ps3d_core.store.halving import method_for
from ps3d_core.store.identity import identities, require_unchanged
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing, write_metadata
from ps3d_core.store.ownership import ZARR_FILES, is_own, zarr_is_own
from ps3d_core.store.staging import all_or_nothing

Format = Literal["tiff", "nifti", "mha", "nrrd", "hdf5", "zarr"]
Writer = Callable[[Location, Slabs, Shape, np.dtype[Any], Placed], None]


@dataclass(frozen=True)
class _File:
    """A format of which one file is made."""

    endings: tuple[str, ...]
    """Of its name."""
    writer: Callable[[str], Writer]
    """Return what writes a file that will have a name, in lower case, as far as that matters."""
    is_own: Callable[[Location], bool]
    """Whether ps3d made a file of this format."""
    needs_folder: bool = False
    """Whether it cannot be written straight to an object store."""


_FILES: Final[dict[str, _File]] = {
    "tiff": _File(TIFF_SUFFIXES, lambda name: partial(write_tiff, name=name), tiff_is_marked, needs_folder=True),
    "nifti": _File(NIFTI_SUFFIXES, lambda name: partial(write_nifti, compressed=name.endswith(".gz")), nifti_is_marked),
    "mha": _File((".mha",), lambda _: write_mha, flat_is_marked),
    "nrrd": _File((".nrrd",), lambda _: write_nrrd, flat_is_marked),
    "hdf5": _File((".h5", ".hdf5", ".nxs"), lambda _: write_hdf5, hdf5_is_marked, needs_folder=True),
}
_NAMED_LIKE: Final = {
    **{form: file.endings for form, file in _FILES.items()},
    "mha": METAIMAGE_SUFFIXES,
    "nrrd": NRRD_SUFFIXES,
    "hdf5": HDF5_SUFFIXES,
    "zarr": (".zarr",),
    "picture": (".jpg", ".jpeg", ".gif", *PICTURE_SUFFIXES),
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

    tiff: one file when `destination` ends in .tif or .tiff (BigTIFF above 4 GB, or when it ends in .btf; OME-TIFF when
    it ends in .ome.tif), else a folder of slices; nifti: a .nii or .nii.gz file; mha and nrrd: a file that ends so;
    hdf5: a NeXus file; zarr: an OME-Zarr image. A spacing in `params` replaces that of the source; voxels are not
    resampled. `slice_name` is that of single slices, see `write_tiff_slices`. An existing destination is replaced only
    when `params` say so, and only when ps3d made it. `title` is what progress calls it. Raise `InputError` that names
    what is wrong; nothing is left of a failed export.
    """
    target, origin, format = Location.parse(destination), place_of(source), params.format
    file = _file_of(target, format)
    output, known = _output(target, format, file)
    inputs = [] if origin is None else [origin]
    with claimed("export", [output], inputs=inputs, say=progress.note), ExitStack() as stack:
        if origin is not None:
            stack.enter_context(deriving(origin, [target], progress.note))
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
        if format == "tiff" and any(reader.origin):
            progress.note(f"{reader.description}: its first voxel does not lie at 0, 0, 0, which TIFF does not keep")
        making = all_or_nothing(output, known=known, finish=partial(require_unchanged, before))
        with making as place, progress.stage(title, reader.shape[0], "slices") as stage:
            if format == "zarr":
                label = reader.is_label if params.labels is None else params.labels
                _write_zarr(reader, place, size, target.name, label=label, memory_bytes=memory_bytes, stage=stage)
            else:
                with closing(_counted(reader, memory_bytes, stage)) as slabs:
                    if file is None:
                        write_tiff_slices(place, slabs, reader.shape, size, slice_name)
                    else:
                        write = file.writer(target.name.lower())
                        write(place, slabs, reader.shape, reader.dtype, Placed(size, reader.origin))
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
    write_metadata(
        place,
        shapes,
        spacing=spacing,
        name=name,
        label=label,
        origin=reader.origin,
        method=method,
        attributes=ZARR_MARK,
    )


def _counted(reader: ScanReader, memory_bytes: int, stage: Stage) -> Generator[npt.NDArray[Any], None, None]:
    depth = deepest_slab(reader.shape, reader.dtype, memory_bytes, most=SHARD, chunk_depth=reader.chunk_depth)
    with closing(read_ahead(reader, depth)) as slabs:
        for _, slab in slabs:
            stage.advance(len(slab))
            yield slab


def _file_of(target: Location, form: Format) -> _File | None:
    """Return the format of the one file that is made; None for a folder.

    Raise `InputError` for a name that is another format's, and for a place where such a file cannot be written.
    """
    name, file = target.name.lower(), _FILES.get(form)
    meant = next((other for other, suffixes in _NAMED_LIKE.items() if name.endswith(suffixes)), form)
    if meant == "picture":
        raise InputError(f"{target}: named like a picture, which is not written; name it like another format")
    if meant != form:
        raise InputError(
            f"{target}: named like {meant}, to be written as {form}", "correct <format>", "name it otherwise"
        )
    if form == "tiff" and not name.endswith(TIFF_SUFFIXES):
        return None
    if file is not None and not name.endswith(file.endings):
        *most, last = file.endings
        endings = f"{', '.join(most)} or {last}" if most else last
        raise InputError(f"{target}: a file of format {form} must end in {endings}; name it so")
    if file is not None and file.needs_folder and target.local_path is None:
        raise InputError(
            f"{target}: one {form} file needs a local folder; give one, or export as zarr or as TIFF slices"
        )
    return file


def _output(target: Location, form: Format, file: _File | None) -> tuple[Output, re.Pattern[str] | None]:
    """Return what is made, and the names of its files; None for a single file."""
    if file is not None:
        return Output(target, file.is_own), None
    return (
        (Output(target, zarr_is_own), ZARR_FILES)
        if form == "zarr"
        else (Output(target, slices_are_marked), SLICE_FILES)
    )
