"""The region that a person says by numbers, see `ps3d_core.roi`."""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape, shape_text
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, per_axis, spacing_by_x
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Cylinder, Region
from ps3d_core.roi import CYLINDER, cylinder_numbers

_LOOKED_AT = 64


def stated_cylinder(roi: str, shape: Shape, spacing: StatedSpacing, origin: Spacing = (0, 0, 0)) -> Region | None:
    """Return the cylinder that `roi` says of a scan of `shape` with voxels of `spacing` mm; None where it says another.

    A radius in voxels is one along x; lengths are positions for which the first voxel lies at `origin` (z, y, x), mm.
    Raise `InputError` for one of which nothing lies in the scan.
    """
    if not roi.startswith(CYLINDER):
        return None
    edges, in_mm = spacing_by_x(spacing), roi.endswith("mm")
    unit, along_y = (per_axis(spacing)[2], 1.0) if in_mm else (1.0, edges[1])
    *centres, radius = cylinder_numbers(roi)
    if in_mm:
        centres = [value - origin[1 + index % 2] for index, value in enumerate(centres)]
    y, x, *_ = centres = [value / unit for value in centres]
    last_y, last_x = centres[-2:]
    slices = max(1, shape[0] - 1) * edges[0]
    tilt = ((last_y - y) * along_y / slices, (last_x - x) / slices)
    cylinder = Cylinder(kind="given", centre=(y * along_y, x), tilt=tilt, radius=radius / unit)
    region = Region(cylinders=(cylinder,), edges=edges)
    depth, height, width = (min(n, _LOOKED_AT) for n in shape)
    if not GridRegion(region, shape, (depth, height, width)).inside(Box.of((depth, height, width))).any():
        raise InputError(
            f"region {roi}: nothing of it lies in the scan of {shape_text(shape)} voxels; "
            "give centre and radius in voxels, or in mm as cylinder:Y,X,RADIUSmm"
        )
    return region
