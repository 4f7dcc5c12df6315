"""Particle-size normalisation: from the scan grid to the grid on which the mean particle has the bundle's size."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape

MAX_GROWTH = 8.0


@dataclass(frozen=True, slots=True)
class Scale:
    """The two grids of one scan. `zoom` = network voxels per scan voxel along an axis."""

    scan_shape: Shape
    network_shape: Shape
    zoom: float

    @property
    def growth(self) -> float:
        """Network voxels per scan voxel; cost grows with this, the cube of the zoom."""
        return prod(self.network_shape) / prod(self.scan_shape)


def particle_scale(
    scan_shape: Shape,
    *,
    spacing: float,
    particle_size: float,
    target_particle_size: float,
    allow_absurd: bool = False,
    max_growth: float = MAX_GROWTH,
) -> Scale:
    """Grids for a scan whose mean particle measures `particle_size` mm at `spacing` mm per voxel.

    p = particle_size / spacing voxels, zoom = target_particle_size / p,
    network shape = max(1, rint(scan shape * zoom)).

    Raises `InputError` when the mean particle is larger than twice the scan, or when the network grid would have more
    than `max_growth` voxels per scan voxel, unless `allow_absurd`.
    """
    particle_voxels = particle_size / spacing
    zoom = target_particle_size / particle_voxels
    z, y, x = (max(1, round(n * zoom)) for n in scan_shape)
    scale = Scale(scan_shape, (z, y, x), zoom)
    if allow_absurd:
        return scale
    if particle_voxels > 2 * max(scan_shape):
        raise InputError(
            f"particle size {particle_size} mm is {particle_voxels:.0f} voxels at {spacing} mm: more than twice the "
            f"scan {scan_shape}; correct the particle size or the spacing (both in mm)"
        )
    if scale.growth > max_growth:
        raise InputError(
            f"particle size {particle_size} mm is {particle_voxels:.2f} voxels at {spacing} mm: the network grid "
            f"{scale.network_shape} would have {scale.growth:.0f} times the scan's voxels (limit {max_growth:.0f}); "
            "correct the particle size or the spacing (both in mm), or pass --allow-absurd"
        )
    return scale
