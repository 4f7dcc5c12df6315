"""What is computed on in boxes has to be a Zarr: other formats are copied into one, once, slab by slab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import SourceParams
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.image_writer import write_levels
from ps3d_core.scan.sources import Source, is_zarr, open_scan, place_of, with_inside
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.halving import method_for
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image, write_metadata
from ps3d_core.store.packing import packing_notes
from ps3d_core.store.presence import absences

VERSION: Final = 1
"""Raise when equal sources would give another copy."""


class Copied(BaseModel):
    """Shape (z, y, x) of a volume that was copied, in voxels."""

    model_config = ConfigDict(frozen=True)

    shape: Shape


@dataclass(frozen=True)
class ImageCopy(Step[Copied]):
    """Step that copies a volume of another format into an OME-Zarr image.

    Attributes:
        source: file or folder of the volume.
        identity: what tells the content of the source from any other.
        work: folder that the copy is made in.
        inside: path of the volume within the source, where it holds several.

    """

    source: Location
    identity: str
    work: Location
    inside: str | None = None

    name, title, found = "copy", "copy", Copied

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the copy."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Place and content of the source."""
        return (self.source.url, self.identity, *filter(None, (self.inside,)))

    @property
    def image(self) -> Location:
        """Image of the copy, which has the dtype and spacing of the source."""
        return self.work / f"copy-{self.fingerprint[:16]}.zarr"

    @property
    def outputs(self) -> dict[str, Location]:
        """Image of the copy."""
        return {"image": self.image}

    def make(self, done: Outcomes, context: Context) -> Copied:
        """Copy the volume, slab by slab, in place of what a killed call left."""
        self.image.remove_tree()
        params = SourceParams(inside=self.inside)
        shape = _copy(self.source, params, self.source.name, self.image, context.memory_bytes, context.progress)
        return Copied(shape=shape)


def as_image(
    source: Source, work: Location, *, memory_bytes: int = SLABS_BYTES, progress: Progress = SILENT
) -> Location:
    """Return where `source` lies when it is a Zarr in a folder or on an object store, else a copy below `work`.

    A copy is OME-Zarr and has the dtype and spacing of the source. `source` is anything that `open_scan` reads; what a
    person should hear of it is noted. A copy that an earlier call left whole is used again, unless the source has
    changed since, or nothing tells. Raise `InputError` that names what is wrong with the source.
    """
    place = place_of(source)
    is_image = place is not None and is_zarr(place)
    if place is not None and is_image and place.is_listed:
        array = open_image(place)
        require_chunk_fits(array, memory_bytes)
        for note in absences(array) + packing_notes(array):
            progress.note(f"{place.name}: {note}")
        return place
    if place is None or is_image:  # nothing tells whether an array in memory, or on a web server, has changed
        copy = work / f"copy-{uuid4().hex[:16]}.zarr"
        _copy(source, SourceParams(), "array" if place is None else place.name, copy, memory_bytes, progress)
        return copy
    params = with_inside(source, SourceParams())
    identity = fingerprint([content_identity(file) for file in (place, *_beside(place, params))])
    step = ImageCopy(place, identity, work, params.inside)
    Engine(work, [step]).run_all(Context(memory_bytes=memory_bytes, progress=progress))
    return step.image


def _beside(place: Location, params: SourceParams) -> tuple[Location, ...]:
    """Files outside of a source that are a part of it; those of a folder lie in it, and it is not opened for that."""
    if place.is_dir():
        return ()
    with open_scan(place, params) as reader:
        return reader.beside


def _copy(
    source: Source, params: SourceParams, name: str, copy: Location, memory_bytes: int, progress: Progress
) -> Shape:
    with open_scan(source, params) as reader:
        for note in reader.notes:
            progress.note(f"{reader.description}: {note}")
        method = method_for(reader.dtype, label=True)
        with progress.stage(f"read {name}", reader.shape[0], "slices") as stage:
            shapes = write_levels(reader, copy, method=method, memory_bytes=memory_bytes, stage=stage)
        for finding in reader.findings:
            progress.note(f"{reader.description}: {finding}")
        write_metadata(copy, shapes, spacing=reader.spacing, origin=reader.origin, name=name, method=method)
        return reader.shape
