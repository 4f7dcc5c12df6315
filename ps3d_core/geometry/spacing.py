"""Spacing of a scan: the edges of its voxels in mm, one number for cubes, three (z, y, x) for other voxels.

Where one length has to stand for a voxel it is the geometric mean of its edges: the edge of the cube of equal volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cbrt, prod

Spacing = tuple[float, float, float]
"""Edges of a voxel (z, y, x)."""
StatedSpacing = float | Spacing
"""Edges of a voxel as they are stated: one number where all are equal."""
PerAxis = float | tuple[float, float, float]
"""Factor along the axes (z, y, x), or one number where it is the same along all."""


def per_axis(value: PerAxis) -> tuple[float, float, float]:
    """Return the three values (z, y, x) of one for all axes, or of three."""
    return (value, value, value) if isinstance(value, float | int) else value


def one_if_equal(values: PerAxis) -> PerAxis:
    """Return one number in the place of three that are equal, and others as they are."""
    z, y, x = per_axis(values)
    return x if z == y == x else (z, y, x)


def mean_spacing(spacing: StatedSpacing) -> float:
    """Return the geometric mean of the edges: the edge of the cube that has the volume of a voxel."""
    one = one_if_equal(spacing)
    # Sorted, since a product may depend on the order of its factors, and the volume of a voxel does not.
    return one if isinstance(one, float | int) else cbrt(prod(sorted(one)))


def relative_spacing(spacing: StatedSpacing) -> Spacing:
    """Return the edges (z, y, x) in units of their geometric mean, exactly 1 each for cubes."""
    mean = mean_spacing(spacing)
    z, y, x = per_axis(spacing)
    return z / mean, y / mean, x / mean


def spacing_by_x(spacing: StatedSpacing) -> Spacing:
    """Return the edges (z, y, x) in units of that along x, exactly 1 each for cubes."""
    z, y, x = per_axis(spacing)
    return z / x, y / x, 1.0


def same_spacing(one: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    """Return whether no edge of two voxels differs by more than a share, `tolerance`, of that of the other."""
    return all(abs(a / b - 1) <= tolerance for a, b in zip(one, other, strict=True))


def per_axis_text(values: PerAxis, kind: str = "g") -> str:
    """Return one number as it is and three with x between them, like 0.02 x 0.01 x 0.01 (z, y, x).

    `kind` is how Python formats each.
    """
    one = one_if_equal(values)
    if isinstance(one, float | int):
        return f"{one:{kind}}"
    return f"{' x '.join(f'{each:{kind}}' for each in one)} (z, y, x)"
