"""From sums of voxels to the quantities a person asks for.

Lengths are in mm. Positions count from the centre of the scan's first voxel, so that position = voxel index *
spacing along its axis, which is how OME-Zarr and its viewers place a label image.

    volume            voxels * volume of a voxel
    diameter          of the ball of equal volume, (6 volume / pi)^(1/3)
    principal axes    full axes of the ellipsoid that has the particle's second moments: 2 sqrt(5 * variance) along
                      each principal direction. A voxel is no point, which adds its edge squared / 12 to each variance.
    elongation        intermediate / longest axis, flatness: shortest / intermediate axis (Zingg, Schweizerische
                      mineralogische und petrographische Mitteilungen 15, 1935); both are 1 for a ball or a cube
    surface area      see surface.py
    sphericity        surface of the ball of equal volume / surface area (Wadell, Journal of Geology 40, 1932);
                      limited to 1, which only the estimate of the surface of a few voxels exceeds
    grey mean, std    over the particle's voxels; std is that of the particle itself (divided by n, not n - 1), and
                      resolved to about 1e-8 of the mean
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, mean_spacing, per_axis, relative_spacing
from ps3d_core.particles.column import Column
from ps3d_core.particles.distribution import equivalent_diameter, volume_of
from ps3d_core.particles.exact_sums import sum_of_squares, total
from ps3d_core.particles.sums import SECOND_MOMENTS, LabelSums
from ps3d_core.particles.surface import surface_area

Columns = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]

_AXES = "zyx"
DIRECTIONS: Final = tuple(
    Column(
        f"axis_{name}_{axis}",
        "double",
        "1",
        f"{axis} of the unit vector along the {long} axis of that ellipsoid; its largest component is above 0",
        cost="shape",
    )
    for name, long in (("long", "longest"), ("intermediate", "intermediate"), ("short", "shortest"))
    for axis in _AXES
)
"""Columns of `axis_directions`."""
# Centred sums of products stay below this, or they may not fit the 63 bits they are kept in.
_MAX_MOMENT = 2.0**62


def particle_columns(
    sums: LabelSums, shape: Shape, spacing: StatedSpacing, origin: Spacing = (0.0, 0.0, 0.0), *, grey: bool
) -> Columns:
    """Return one array per column of the table, with one element per label of `sums`.

    `shape` is the scan's (voxels), `spacing` the edges of a voxel (mm), `origin` (z, y, x) where the centre of its
    first voxel lies (mm). Without `grey` the grey columns are NaN.
    Principal axes of a label too vast for exact moments (beyond about 10^11 voxels over 10^4) are NaN.
    """
    diameter = equivalent_diameter(sums.voxels, spacing)
    area = surface_area(sums.intercepts, spacing)
    long, intermediate, short = principal_axes(sums, spacing).T
    touches = (sums.low == 0).any(axis=1) | (sums.high == np.array(shape, np.int32) - 1).any(axis=1)
    return {
        "label": sums.labels,
        "voxels": sums.voxels,
        "volume_mm3": volume_of(sums.voxels, spacing),
        "diameter_mm": diameter,
        **_per_axis("centroid_{}_mm", _centroid(sums) * per_axis(spacing) + origin),
        **_per_axis("bbox_{}_start", sums.low),
        **_per_axis("bbox_{}_stop", sums.high + 1),
        "axis_long_mm": long,
        "axis_intermediate_mm": intermediate,
        "axis_short_mm": short,
        "elongation": intermediate / long,
        "flatness": short / intermediate,
        "surface_area_mm2": area,
        "sphericity": np.minimum(1.0, np.pi * diameter**2 / area),
        **_grey_columns(sums, grey),
        "touches_border": touches,
    }


def principal_axes(sums: LabelSums, spacing: StatedSpacing = 1.0) -> Floats:
    """Return full axis lengths (n, 3) of the equivalent ellipsoids, longest first, in the unit of `spacing`."""
    matrices, known = _relative_covariances(sums, spacing)
    lengths = np.full((len(matrices), 3), np.nan)
    lengths[known] = 2 * np.sqrt(5 * np.linalg.eigvalsh(matrices[known])[:, ::-1])
    return lengths * mean_spacing(spacing)


def axis_directions(sums: LabelSums, spacing: StatedSpacing = 1.0) -> Columns:
    """Return the components of unit vectors along the principal axes, (n,) each, as columns `DIRECTIONS`.

    An axis has two ends: the one is given whose largest component is above 0. Axes of equal length have no direction
    of their own; any two that are perpendicular stand for them.
    """
    matrices, known = _relative_covariances(sums, spacing)
    vectors = np.full((len(matrices), 3, 3), np.nan)
    found = np.linalg.eigh(matrices[known])[1][:, :, ::-1]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None, :], axis=1)
    vectors[known] = found * np.where(largest < 0, -1.0, 1.0)
    return {
        f"axis_{name}_{axis}": vectors[:, i, k]
        for k, name in enumerate(("long", "intermediate", "short"))
        for i, axis in enumerate(_AXES)
    }


def _relative_covariances(sums: LabelSums, spacing: StatedSpacing) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Covariance matrices (n, 3, 3) in units of the mean edge of a voxel, and which of them are known."""
    edges = np.array(relative_spacing(spacing))
    matrices = covariances(sums) * np.outer(edges, edges)
    return matrices, np.asarray(~np.isnan(matrices).any(axis=(1, 2)))


def covariances(sums: LabelSums) -> Floats:
    """Return covariance matrices (n, 3, 3) of the points of the particles' voxels, in voxels along both axes."""
    n, first = sums.voxels, sums.first
    # About the whole voxel below the centroid, in wrapping integers: exact whenever the result fits.
    centre = first // n[:, None]
    beside = (first - centre * n[:, None]) / n[:, None]
    extent = (sums.high - sums.low + 1).max(axis=1).astype(np.float64)
    fits = n * extent**2 / 4 < _MAX_MOMENT
    result = np.zeros((len(n), 3, 3))
    for k, (i, j) in enumerate(SECOND_MOMENTS):
        a, b = centre[:, i], centre[:, j]
        centred = sums.second[:, k] - a * first[:, j] - b * first[:, i] + a * b * n
        value = np.where(fits, centred / n - beside[:, i] * beside[:, j], np.nan)
        result[:, i, j] = result[:, j, i] = value + (i == j) / 12
    return result


def _centroid(sums: LabelSums) -> Floats:
    centre: Floats = sums.first / sums.voxels[:, None]
    return centre


def _per_axis(name: str, values: npt.NDArray[Any]) -> Columns:
    return {name.format(axis): values[:, i] for i, axis in enumerate(_AXES)}


def _grey_columns(sums: LabelSums, grey: bool) -> Columns:
    names = ("grey_mean", "grey_std", "grey_min", "grey_max")
    if not grey:
        return {name: np.full(len(sums.labels), np.nan) for name in names}
    # Adding 0 turns a minimum of -0.0, which no order of comparison defines, into 0.0.
    low, high = sums.grey_low.astype(np.float64) + 0.0, sums.grey_high.astype(np.float64) + 0.0
    mean = total(sums.grey_total) / sums.voxels
    variance = sum_of_squares(sums.grey_squares) / sums.voxels - mean**2
    std = np.where(low == high, 0.0, np.sqrt(np.maximum(variance, 0.0)))
    broken = np.isnan(low)
    return dict(zip(names, (np.where(broken, np.nan, mean), np.where(broken, np.nan, std), low, high), strict=True))
