"""Where exactly a bound lies: profiles of the scan's own voxels, across the bound, at many places of it.

    sites      places on the bound, with the direction that points out of the region
    profiles   grey values along that direction, averaged over a few voxels beside it
    steps      where each profile rises or falls the most

Only small boxes around the sites are read, so that scans of any size cost the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.region.region import CUBES, Floats
from ps3d_core.store.arrays import read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

FINE: Final = 0.25
"""Distance of the samples of a profile, voxels."""
SMALL: Final = 2**24
"""Voxels up to which a scan is held as a whole."""
BESIDE: Final = (-1.5, 0.0, 1.5)
"""Places beside a site whose profiles are averaged with its own, along two directions across the profile, voxels."""


class Voxels:
    """Voxels of a scan, box by box; small scans are read at once."""

    def __init__(self, image: Location, edges: Spacing = CUBES) -> None:
        """Open the scan at `image`, OME-Zarr; `edges` are those of a voxel in units of that along x."""
        self.edges = np.array(edges)
        self._array = open_image(image)
        self.shape = cast(Shape, self._array.shape)
        whole = prod(self.shape) <= SMALL
        self._whole = read_box(self._array, Box.of(self.shape)) if whole else None

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the grey values of a box."""
        return read_box(self._array, box) if self._whole is None else self._whole[box.slices]


def profiles(scan: Voxels, sites: Floats, normals: Floats, reach: float, *, exact: bool = False) -> Floats:
    """Return grey values along the normals of sites, (n, samples), NaN beyond the scan.

    Sites and normals are (n, 3), in voxels of the scan, along all axes in edges along x; samples lie `FINE` apart from
    `-reach` to `reach`. With `exact` they are those of single voxels, else smoothed and averaged beside the profile.
    """
    along = _distances(reach)
    found = np.full((len(sites), len(along)), np.nan)
    beside = ((0.0, 0.0),) if exact else [(a, b) for a in BESIDE for b in BESIDE]
    for row, (site, normal) in enumerate(zip(sites, normals, strict=True)):
        first, second = _across(normal)
        lines = [site + along[:, None] * normal + a * first + b * second for a, b in beside]
        found[row] = _values(scan, np.concatenate(lines), exact).reshape(len(beside), -1).mean(axis=0)
    return found


def _values(scan: Voxels, points: Floats, exact: bool) -> Floats:
    """Grey values at points (n, 3) of the scan, NaN beyond it."""
    shape, points = np.array(scan.shape), points / scan.edges
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 3, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 4, shape)
    if (low >= high).any():
        return np.full(len(points), np.nan)
    box = Box((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
    values = scan.read(box).astype(np.float32)
    if not exact:
        values = gaussian_filter(values, 0.7, mode="nearest")
    sampled = map_coordinates(values, (points - low).T, order=0 if exact else 1, mode="nearest")
    inside = ((points >= -0.5) & (points <= shape - 0.5)).all(axis=1)
    return np.where(inside, sampled, np.nan)


def steps(seen: Floats, reach: float, sign: float) -> Floats:
    """Return where profiles (n, samples) change the most with the `sign`, outwards; NaN where they do not."""
    along, span = _distances(reach), round(1 / FINE)
    change = sign * (seen[:, 2 * span :] - seen[:, : -2 * span]) / 2
    change = np.where(np.isnan(change), -np.inf, change)
    best = np.clip(change.argmax(axis=1), 1, change.shape[1] - 2)
    rows = np.arange(len(seen))
    before, peak, after = (change[rows, best + k] for k in (-1, 0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = 0.5 * (before - after) / (before - 2 * peak + after)
    shift = np.where(np.isfinite(shift), np.clip(shift, -0.5, 0.5), 0)
    return np.where(peak > 0, along[best + span] + shift * FINE, np.nan)


def ends(seen: Floats, reach: float, value: float) -> Floats:
    """Return where profiles (n, samples) of single voxels take on a constant value for good, NaN where they do not."""
    along = _distances(reach)
    other = (seen != value) & ~np.isnan(seen)
    last = seen.shape[1] - 1 - other[:, ::-1].argmax(axis=1)
    ended = other.any(axis=1) & (seen[:, -1] == value)
    return np.where(ended, along[last] + FINE / 2, np.nan)


def _distances(reach: float) -> Floats:
    count = round(reach / FINE)
    return np.asarray(np.arange(-count, count + 1) * FINE, np.float64)


def _across(normal: Floats) -> tuple[Floats, Floats]:
    """Two directions across a normal and across each other, of length 1."""
    axis = np.eye(3)[np.abs(normal).argmin()]
    first = np.cross(normal, axis)
    first = first / np.linalg.norm(first)
    return first, np.cross(normal, first)


def robust_median(values: Iterable[float]) -> float:
    """Return the median of those `values` that are known, NaN when none is."""
    known = np.array([each for each in values if np.isfinite(each)])
    return float(np.median(known)) if known.size else float("nan")
