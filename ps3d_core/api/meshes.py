"""`meshes`: surfaces of particles as meshes, in one call."""

from __future__ import annotations

from collections.abc import Sequence

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.meshing.source import particles_of_labels, particles_of_result, result_in
from ps3d_core.meshing.write import MeshSummary, write_meshes
from ps3d_core.params import MeshParams, Resources
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.given import existing, spacing_of, volumes_in
from ps3d_core.scan.sources import Source, place_of
from ps3d_core.store.location import Location
from ps3d_core.store.scratch import temporary


def meshes(
    source: Source,
    output: str | Location | None = None,
    *,
    labels: Sequence[int] | None = None,
    params: MeshParams | None = None,
    spacing: StatedSpacing | None = None,
    resources: Resources | None = None,
    progress: Progress = SILENT,
) -> MeshSummary:
    """Write the surfaces of particles as closed meshes of triangles, whose volumes are those of the voxels.

    Coordinates are x, y, z in mm, in the scanner's frame: 0 is the centre of the scanner's voxel 0.

    Args:
        source: folder of a result, or a label image (z, y, x) as a path, a URL or an array; 0 is background.
        output: folder that gets LABEL.stl, .ply or .glb for each, or the one file that a bundle is. When absent, meshes
            or meshes.FORMAT in the folder of the result; for other labels NAME-meshes in the current folder.
        labels: of the particles that are wanted; all of them when absent.
        params: format, smoothing, and whether all go into one file.
        spacing: edge of a voxel, mm, or three (z, y, x); what the labels say of themselves when absent.
        resources: memory, workers and runner of measuring labels that are no result; the whole machine when absent.
        progress: is told how the work goes on.

    Raises:
        InputError: for a label that no particle has, a place that may not be written, labels that cannot be, and where
            no spacing is known.

    """
    params, resources = params or MeshParams(), resources or Resources()
    target = place_for(source, params) if output is None else Location.parse(output)
    place = place_of(source)
    if place is not None and (root := result_in(place)) is not None:
        if spacing is not None:
            raise InputError(f"{root}: a result, which knows its spacing", "leave out <spacing>")
        return write_meshes(particles_of_result(root), target, params, labels=labels, progress=progress)
    if place is not None:
        existing(place)
    spacing = spacing_of(source) if spacing is None else spacing
    name = "labels" if place is None else str(place)
    context = Context(Runner.of(resources), resources.memory_bytes, progress)
    with temporary() as work, volumes_in(work, progress, memory_bytes=resources.memory_bytes) as volumes:
        particles = particles_of_labels(volumes.labels(source), name, work, spacing, context)
        return write_meshes(particles, target, params, labels=labels, progress=progress)


def place_for(source: Source, params: MeshParams) -> Location:
    """Return where meshes go when nobody says it: beside the labels of a result, else into the current folder."""
    place = place_of(source)
    ending = f".{params.format}" if params.bundle else ""
    if place is not None and (root := result_in(place)) is not None:
        return root / f"meshes{ending}"
    name = "labels" if place is None else place.name.partition(".")[0] or "labels"
    return Location.parse(f"{name}-meshes{ending}")
