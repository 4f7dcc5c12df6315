"""Find the surroundings of a sample: field of view, tube and flat walls, by their shape over the whole scan.

A scan is looked at once at a coarse level, and then at few places of what was found, at its own: seconds, and little
memory, whatever its size.
"""

from __future__ import annotations

from typing import Final

from ps3d_core.geometry.spacing import Spacing
from ps3d_core.region.coarse import Coarse, coarse_grey, looked_at
from ps3d_core.region.edges import Voxels
from ps3d_core.region.flat import walls_in
from ps3d_core.region.region import CUBES, Cylinder, Region
from ps3d_core.region.tube import tube_in
from ps3d_core.region.view import field_of_view
from ps3d_core.store.location import Location

SMOOTHINGS: Final = (1.0, 2.0)
"""Of the coarse scan, coarse voxels; the second where nothing is clear with the first, as in noisy scans."""

ROOM: Final = 0.25
"""Voxels that the inside reaches beyond the face of a wall, so that it takes nothing of particles that touch it."""


def found_region(image: Location, edges: Spacing = CUBES) -> Region:
    """Return what lies inside of the surroundings of a sample; everything where none are clear.

    `edges` are those of a voxel in units of that along x.
    """
    grey, factor = coarse_grey(image, edges)
    scan, region = Voxels(image, edges), Region(edges=edges)
    for smoothing in SMOOTHINGS:
        region = _region(looked_at(grey, factor, smoothing, edges), scan)
        if any(bound.kind == "wall" for bound in region.bounds):
            break
    return region


def _region(look: Coarse, scan: Voxels) -> Region:
    view, tube = field_of_view(look, scan), tube_in(look, scan)
    walls = walls_in(look, scan, () if tube is None else (tube,))
    cylinders: tuple[Cylinder, ...] = () if tube is None else (tube.grown(ROOM),)
    z, y, x = look.edges.tolist()
    return Region(
        cylinders=cylinders if view is None else (*cylinders, view),
        planes=tuple(wall.grown(ROOM) for wall in walls),
        edges=(z, y, x),
    )
