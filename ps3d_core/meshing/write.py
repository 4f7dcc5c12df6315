"""Meshes of particles into files: one for each particle in a folder, or one with all of them.

A folder appears as a whole or not at all, and holds nothing but meshes and `meshes.json`, which says what they are.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.meshing.formats import FORMATS, MeshFile
from ps3d_core.meshing.mesh import Mesh, enclosed, surface_of
from ps3d_core.meshing.source import Particles
from ps3d_core.params import MeshParams
from ps3d_core.particles.cutouts import Images, cutouts
from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.whole import Cutout
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.claim import Output, claimed, holds_no_file
from ps3d_core.store.deriving import deriving
from ps3d_core.store.identity import identities, require_unchanged
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.ome import open_image
from ps3d_core.store.ownership import MARK, is_link, is_own, strangers
from ps3d_core.store.publishing import is_published, publish
from ps3d_core.store.staging import all_or_nothing
from ps3d_core.version import __version__

ABOUT: Final = "meshes.json"
MESH_FILES: Final = re.compile(r"\d{1,10}\.(?:stl|ply|glb)|meshes\.json|\.ps3d\.json|\.[^/]+\.[0-9a-f]{32}\.tmp")
"""Names below a folder of meshes."""
_IN_MEMORY: Final = io.BytesIO


class MeshSummary(BaseModel):
    """Summary of meshes: where they are, of how many particles and how fine."""

    model_config = ConfigDict(frozen=True)

    destination: str
    particles: int = Field(description="that have meshes")
    triangles: int = Field(description="of all of them")


@dataclass
class _Tally:
    """What has been written so far."""

    particles: int = 0
    triangles: int = 0

    def add(self, mesh: Mesh) -> None:
        self.particles += 1
        self.triangles += len(mesh.faces)


def write_meshes(
    particles: Particles,
    output: Location,
    params: MeshParams,
    *,
    labels: Sequence[int] | None = None,
    progress: Progress = SILENT,
) -> MeshSummary:
    """Write the surfaces of particles as meshes of triangles, in mm, axes x, y, z of the scanner's frame.

    Args:
        particles: where they are.
        output: folder that gets a file LABEL.FORMAT for each, or the one file that a bundle is.
        params: format, smoothing, and whether all go into one file.
        labels: of those that are wanted; all of them when absent.
        progress: is told how the work goes on.

    Raises:
        InputError: for a label that no particle has, a place that may not be written, and what the format cannot hold.

    """
    inputs, tally = [particles.labels], _Tally()
    made = Output(output, is_published if params.bundle else meshes_are_own)
    with (
        claimed("meshes", [made], inputs=inputs, say=progress.note),
        deriving(particles.labels, [output], progress.note),
        ExitStack() as stack,
    ):
        if output.exists() and not holds_no_file(output) and not is_own(output) and not params.overwrite:
            raise InputError(f"{output}: already exists", "replace it with <overwrite>", "choose another <output>")
        chosen = None if labels is None else particles.require(labels)
        total = particles.count() if chosen is None else len(chosen)
        if not total:
            raise InputError(f"{particles.name}: no particles, so there are no meshes; give other labels")
        before = identities(inputs)
        stage = stack.enter_context(progress.stage("meshes", total, "particles"))
        meshes = _counted(meshes_of(particles, params.smooth, chosen), tally, stage.advance)
        if params.bundle:
            _write_bundle(output, meshes, params.format, partial(require_unchanged, before))
        else:
            finish = partial(require_unchanged, before)
            place = stack.enter_context(all_or_nothing(made, known=MESH_FILES, finish=finish))
            _write_folder(place, meshes, params, particles.name)
    return MeshSummary(destination=str(output), particles=tally.particles, triangles=tally.triangles)


def meshes_of(particles: Particles, smoothing: float, chosen: Labels | None = None) -> Iterator[Mesh]:
    """Yield meshes of particles, those near each other one after the other, one in memory at a time.

    `smoothing` is the standard deviation of a Gaussian, voxels; `chosen` are the labels of those wanted, rising; all of
    them when absent. Raise `CorruptDataError` when the image has nothing of a label that the table has.
    """
    images = Images(open_image(particles.labels), {}, particles.edges, str(particles.labels))
    origin = particles.origin
    for boxes, voxels in particles.boxes(chosen):
        for cutout in cutouts(images, boxes):
            sizes = voxels[np.searchsorted(boxes.labels, cutout.ids)]
            for row, size in enumerate(sizes.tolist()):
                yield _mesh(cutout, row, size, (particles.edges, origin), smoothing)


def meshes_are_own(folder: Location) -> bool:
    """Return whether all that lies in `folder` are meshes that ps3d wrote, or a broken-off writing of such."""
    if is_link(folder) or not folder.is_dir() or strangers(folder, MESH_FILES):
        return False
    if is_own(folder):
        return True
    try:
        about = (folder / ABOUT).read_json()
    except (InputError, MissingDataError, OSError):
        return False
    return isinstance(about, dict) and MARK in about


def _mesh(cutout: Cutout, row: int, voxels: int, frame: tuple[Spacing, Spacing], smoothing: float) -> Mesh:
    """The mesh of one particle of a cutout; `frame` are the edges of a voxel of the scan and its origin, mm."""
    label, low, high = int(cutout.ids[row]), cutout.low[row], cutout.high[row]
    z, y, x = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    own = cutout.labels[z, y, x] == label
    if not own.any():
        raise CorruptDataError(
            f"label {label}: the image has nothing of it where the table says; segment or measure again"
        )
    edges, origin = (np.array(each) for each in frame)
    coarse = np.array(cutout.edges)  # a large particle is looked at in steps of several voxels
    surface = surface_of(own, voxels * float(np.prod(edges / coarse)), smoothing)
    corner = origin + edges * np.array(cutout.start) + coarse * low
    return _in_scanner(surface.vertices * coarse, surface.faces, corner, label)


def _in_scanner(
    vertices: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], corner: npt.NDArray[np.float64], label: int
) -> Mesh:
    """A mesh with axes x, y, z of one with axes z, y, x; its faces look outwards."""
    turned = np.ascontiguousarray(vertices[:, ::-1])
    outwards = faces if enclosed(turned, faces) > 0 else faces[:, ::-1]
    z, y, x = corner.tolist()
    return Mesh(turned, np.ascontiguousarray(outwards), (x, y, z), label)


def _counted(meshes: Iterator[Mesh], tally: _Tally, advance: Callable[[], None]) -> Iterator[Mesh]:
    for mesh in meshes:
        yield mesh
        tally.add(mesh)
        advance()


def _write_folder(place: Location, meshes: Iterator[Mesh], params: MeshParams, source: str) -> None:
    for mesh in meshes:
        file = FORMATS[params.format](_IN_MEMORY)
        file.add(mesh)
        (place / f"{mesh.label}.{params.format}").write_bytes(b"".join(file.pieces()))
    about: dict[str, Any] = {
        MARK: __version__,
        "source": source,
        "unit": "mm",
        "axes": "x, y, z",
        "format": params.format,
        "smooth_voxels": params.smooth,
    }
    (place / ABOUT).write_json(about)


def _write_bundle(output: Location, meshes: Iterator[Mesh], format: str, finish: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="ps3d-meshes-") as folder, ExitStack() as stack:

        def spool() -> BinaryIO:
            return stack.enter_context(tempfile.TemporaryFile(dir=folder))

        local = Path(folder) / "bundle"
        with writing_to(Location.parse(folder)):
            file: MeshFile = FORMATS[format](spool)
            for mesh in meshes:
                file.add(mesh)
            with local.open("wb") as stream:
                for piece in file.pieces():
                    stream.write(piece)
        finish()
        publish(output, local)
