"""The spacing of a scan: whether it can be one, and what it is where it is said in two places."""

from __future__ import annotations

from pydantic import BaseModel

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, per_axis_text, same_spacing
from ps3d_core.invalid import made
from ps3d_core.quantities import VoxelEdges
from ps3d_core.store.layout import ScanInfo
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_spacing

SAME = 0.01  # relative difference of spacings that are taken to be one


def spacing_text(spacing: Spacing) -> str:
    """Return a spacing as people write it: one number where all axes are alike, else z,y,x."""
    sides = [f"{side:g}" for side in spacing]
    return sides[0] if len(set(sides)) == 1 else ",".join(sides)


class _Voxel(BaseModel):
    spacing: VoxelEdges


def checked_spacing(spacing: StatedSpacing) -> StatedSpacing:
    """Return the edges of a voxel in mm, one number for three that are equal.

    Raise `InputError` for edges that no voxel has.
    """
    return made(_Voxel, spacing=spacing).spacing


def nearly_one(spacing: Spacing) -> StatedSpacing:
    """Return the edge along x where all agree to 1 %, as they are written by programs that round them; else all."""
    return spacing[2] if max(spacing) <= min(spacing) * (1 + SAME) else spacing


def agreed_spacing(image: Location, info: ScanInfo) -> Spacing:
    """Return the spacing (z, y, x) of a scan in mm; raise `InputError` when metadata.json and the image disagree."""
    stored = image_spacing(image)
    if stored is not None and not same_spacing(stored, info.spacing_zyx, SAME):
        # One of the two is wrong, and all sizes hang on it.
        raise InputError(
            f"spacing {per_axis_text(info.spacing)} mm in metadata.json, {stored} mm in {image}: they must agree to "
            "1 %; correct metadata.json, or ingest the scan again with the right spacing"
        )
    return info.spacing_zyx
