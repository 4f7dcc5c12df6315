"""Particle-size normalisation: from the scan grid to the grid on which the mean particle has the bundle's size."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape, shape_text

ABSURD_GROWTH: Final = 1e4
"""Network voxels per scan voxel beyond which a length must be mistyped, say in the wrong unit."""
MOST_VOXELS: Final = 2.0**60
"""Of a network grid; positions in larger ones do not fit the arithmetic of the resampling."""


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
) -> Scale:
    """Return the grids for a scan whose mean particle measures `particle_size` mm at `spacing` mm per voxel.

    p = particle_size / spacing voxels, zoom = target_particle_size / p,
    network shape = max(1, rint(scan shape * zoom)).

    Raise `InputError` for lengths that must be mistyped, unless `allow_absurd`: when the mean particle is larger than
    twice the scan, or when the network grid would have more than `ABSURD_GROWTH` voxels per scan voxel. Raise it always
    when the network grid would have more than `MOST_VOXELS` voxels. Whether a large grid can be worked on is not asked
    here; that depends on disk and memory.
    """
    particle_voxels = particle_size / spacing
    zoom = target_particle_size / particle_voxels if particle_voxels > 0 else inf
    if not allow_absurd:
        _check_plausible(scan_shape, spacing, particle_size, zoom)
    if prod(n * zoom for n in scan_shape) > MOST_VOXELS:
        raise InputError(
            f"particle size {particle_size:g} mm at {spacing:g} mm per voxel: the network grid would have more than "
            f"{MOST_VOXELS:.3g} voxels; correct the particle size or the spacing (both in mm)"
        )
    z, y, x = (max(1, round(n * zoom)) for n in scan_shape)
    return Scale(scan_shape, (z, y, x), zoom)


def _check_plausible(scan_shape: Shape, spacing: float, particle_size: float, zoom: float) -> None:
    particle_voxels, growth = particle_size / spacing, zoom * zoom * zoom
    given = f"particle size {particle_size:g} mm is {particle_voxels:.3g} voxels at {spacing:g} mm"
    remedies = "correct the particle size or the spacing (both in mm)", "insist with <allow_absurd>"
    if particle_voxels > 2 * max(scan_shape):
        raise InputError(f"{given}: more than twice the scan of {shape_text(scan_shape)}", *remedies)
    if growth > ABSURD_GROWTH:
        raise InputError(
            f"{given}: the network grid would have {growth:.3g} times the scan's voxels (limit {ABSURD_GROWTH:g})",
            *remedies,
        )
