"""Particle-size normalisation: from the scan grid to the grid on which the mean particle has the bundle's size."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.geometry.spacing import (
    PerAxis,
    StatedSpacing,
    mean_spacing,
    one_if_equal,
    per_axis,
    per_axis_text,
)

ABSURD_GROWTH: Final = 1e4
"""Network voxels per scan voxel beyond which a length must be mistyped, say in the wrong unit."""
MOST_VOXELS: Final = 2.0**60
"""Of a network grid; positions in larger ones do not fit the arithmetic of the resampling."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The two grids of one scan; the voxels of the network grid are cubes.

    zoom: network voxels per scan voxel along an axis, one number where it is the same for all, else three (z, y, x).
    """

    scan_shape: Shape
    network_shape: Shape
    zoom: PerAxis

    @property
    def zoom_zyx(self) -> tuple[float, float, float]:
        """Network voxels per scan voxel along z, y and x."""
        return per_axis(self.zoom)

    @property
    def zoom_text(self) -> str:
        """The zoom for a person: one number where it is the same along all axes."""
        return per_axis_text(self.zoom, ".3f")

    @property
    def growth(self) -> float:
        """Network voxels per scan voxel; cost grows with this, the product of the zooms."""
        return prod(self.network_shape) / prod(self.scan_shape)


def particle_scale(
    scan_shape: Shape,
    *,
    spacing: StatedSpacing,
    particle_size: float,
    target_particle_size: float,
    allow_absurd: bool = False,
) -> Scale:
    """Return the grids for a scan whose mean particle measures `particle_size` mm at `spacing` mm per voxel.

    Along every axis:

    p = particle_size / spacing voxels, zoom = target_particle_size / p,
    network shape = max(1, rint(scan shape * zoom)).

    Raise `InputError` for lengths that must be mistyped, unless `allow_absurd`: when the mean particle is larger than
    twice the scan, or when the network grid would have more than `ABSURD_GROWTH` voxels per scan voxel. Raise it always
    when the network grid would have more than `MOST_VOXELS` voxels. Whether a large grid can be worked on is not asked
    here; that depends on disk and memory.
    """
    particle_voxels = [particle_size / side for side in per_axis(spacing)]
    z, y, x = (target_particle_size / voxels if voxels > 0 else inf for voxels in particle_voxels)
    if not allow_absurd:
        _check_plausible(scan_shape, spacing, particle_size, (z, y, x))
    if prod(n * zoom for n, zoom in zip(scan_shape, (z, y, x), strict=True)) > MOST_VOXELS:
        raise InputError(
            f"particle size {particle_size:g} mm at {per_axis_text(spacing)} mm per voxel: the network grid would have "
            f"more than {MOST_VOXELS:.3g} voxels; correct the particle size or the spacing (both in mm)"
        )
    return Scale(scan_shape, network_grid(scan_shape, (z, y, x)), one_if_equal((z, y, x)))


def network_grid(scan_shape: Shape, zoom: PerAxis) -> Shape:
    """Return the shape of the network grid of a scan at so many network voxels per scan voxel along an axis."""
    z, y, x = (max(1, round(n * each)) for n, each in zip(scan_shape, per_axis(zoom), strict=True))
    return z, y, x


def _check_plausible(
    scan_shape: Shape, spacing: StatedSpacing, particle_size: float, zoom: tuple[float, float, float]
) -> None:
    across, growth = particle_size / mean_spacing(spacing), prod(zoom)
    given = f"particle size {particle_size:g} mm is {across:.3g} voxels at {per_axis_text(spacing)} mm"
    remedies = "correct the particle size or the spacing (both in mm)", "insist with <allow_absurd>"
    longest = max(n * side for n, side in zip(scan_shape, per_axis(spacing), strict=True))
    if particle_size / longest > 2:
        raise InputError(f"{given}: more than twice the scan of {shape_text(scan_shape)}", *remedies)
    if growth > ABSURD_GROWTH:
        raise InputError(
            f"{given}: the network grid would have {growth:.3g} times the scan's voxels (limit {ABSURD_GROWTH:g})",
            *remedies,
        )
