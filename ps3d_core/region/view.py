"""The field of view: a circle, the same in all slices, outside of which the scan has one single value."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.optimize import least_squares

from ps3d_core.region.coarse import Coarse
from ps3d_core.region.edges import Voxels, ends, profiles
from ps3d_core.region.region import Cylinder, Floats

SITES: Final = 96
ROUND: Final = 0.8
"""Root mean square distance of the rim from a circle, coarse voxels, at most."""


def field_of_view(look: Coarse, scan: Voxels) -> Cylinder | None:
    """Return the circle outside of which the scan is constant, None when there is none. `scan` has its own voxels."""
    inside = ~look.constant[0]
    if inside.all() or not inside.any():
        return None
    rim = inside & ~binary_erosion(inside, border_value=1)
    rows, columns = np.nonzero(rim)
    if len(rows) < 8:
        return None
    y, x = look.in_scan(rows.astype(np.float64), 1), look.in_scan(columns.astype(np.float64), 2)
    circle = _circle(y, x)
    if float(np.sqrt(np.mean(np.square(_off(circle, y, x))))) > ROUND * look.factor[1]:
        return None
    return _measured(circle, look, scan)


def _circle(y: Floats, x: Floats) -> Floats:
    """The circle (y, x, radius) nearest to points."""
    matrix = np.stack([2 * y, 2 * x, np.ones_like(y)], axis=1)
    cy, cx, rest = np.linalg.lstsq(matrix, y * y + x * x, rcond=None)[0]
    first = np.array([cy, cx, np.sqrt(max(rest + cy * cy + cx * cx, 1.0))])
    return np.asarray(least_squares(_off, first, args=(y, x), loss="soft_l1", f_scale=0.5).x)


def _off(circle: Floats, y: Floats, x: Floats) -> Floats:
    return np.asarray(np.hypot(y - circle[0], x - circle[1]) - circle[2])


def _measured(circle: Floats, look: Coarse, scan: Voxels) -> Cylinder:
    """The circle as exactly as the scan's own voxels tell it."""
    last = ((np.array(scan.shape) - 1) * scan.edges)[1:]
    for reach in (2.5 * look.factor[1] + 2, 3.0):
        index = np.arange(SITES * 8)
        angle = index * np.pi * (3 - np.sqrt(5))
        normals = np.stack([np.zeros(len(index)), np.sin(angle), np.cos(angle)], axis=1)
        z = np.rint((index % 3 + 0.5) / 3 * (scan.shape[0] - 1)) * scan.edges[0]
        sites = np.stack([z, circle[0] + circle[2] * normals[:, 1], circle[1] + circle[2] * normals[:, 2]], axis=1)
        here = (sites[:, 1:] >= reach).all(axis=1) & (sites[:, 1:] <= last - reach).all(axis=1)
        chosen = np.flatnonzero(here)[:SITES]
        value = float(look.grey[look.constant][0])
        at = ends(profiles(scan, sites[chosen], normals[chosen], reach, exact=True), reach, value)
        points = (sites[chosen] + at[:, None] * normals[chosen])[np.isfinite(at)]
        if len(points) >= 8:
            circle = _circle(points[:, 1], points[:, 2])
    y, x, radius = map(float, circle)
    return Cylinder(kind="field of view", centre=(y, x), radius=radius)
