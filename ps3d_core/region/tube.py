"""Tubes: a face that is round in every slice, on one straight axis, with nothing of the sample beyond it.

Steps of grey value in the mean of neighbouring slices vote for the axis: those of particles point anywhere, those of a
wall to its axis (Duda and Hart, Communications of the ACM 15, 1972, with the direction of the slope as Kimme et al.,
Communications of the ACM 18, 1975). Around the best axes the shells are looked at: a face is a radius at which grey
values step by the same sign nearly all around and all along. The inner face of the wall is the innermost one that has
quiet shells beyond it.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.optimize import least_squares

from ps3d_core.region.coarse import Coarse
from ps3d_core.region.edges import Voxels, profiles, robust_median, steps
from ps3d_core.region.quiet import CLEAR, LEAST_SHARE, Face, Points, clearest, faces_of, innermost
from ps3d_core.region.region import Cylinder, Floats

GROUPS: Final = 6
"""Parts along z in which slices are averaged."""
TILTS: Final = 0.3
"""Greatest shift of the axis per slice that is looked for."""
AXES: Final = 8
"""Axes that are looked at closely."""
LEAST_RADIUS: Final = 0.12
"""Of a tube, as a share of the shorter side of a slice."""
LEAST_ARC: Final = 0.1
"""Share of a circle that has to lie in the scan."""
SITES: Final = 160
"""Places at which the face is measured."""


class Axis(NamedTuple):
    """Straight line near z, in voxels of the scan: (y, x) at z = 0, and shift per slice."""

    centre: tuple[float, float]
    tilt: tuple[float, float]

    def cylinder(self, radius: float) -> Cylinder:
        """Return the cylinder around it."""
        return Cylinder(kind="wall", centre=self.centre, tilt=self.tilt, radius=radius)


def tube_in(look: Coarse, scan: Voxels) -> Cylinder | None:
    """Return the inner face of a tube's wall, None when there is no clear one. `scan` has its own voxels."""
    points = Points.of(look)
    found = [
        (face, axis) for axis in _axes(look) if (face := clearest(_faces(look, points, axis, LEAST_SHARE))) is not None
    ]
    if not found:
        return None
    face, axis = max(found, key=lambda each: each[0].share * _arc(look, each[1], each[0].distance))
    # The face that is seen best says where the axis is; only around that are shells as thin as they are.
    exact = _measured(face, axis, look, scan)
    inner = innermost(_faces(look, points, Axis(exact.centre, exact.tilt), CLEAR))
    return None if inner is None else _measured(inner, Axis(exact.centre, exact.tilt), look, scan)


def _axes(look: Coarse) -> list[Axis]:
    """The axes that most steps point to."""
    depth, ny, nx = look.shape
    cuts = np.linspace(0, depth, min(GROUPS, depth) + 1).astype(int)
    middles = look.in_scan((cuts[1:] + cuts[:-1] - 1) / 2, 0)
    pad = max(ny, nx) // 2
    votes = [_votes(look, a, b, pad) for a, b in pairwise(cuts.tolist())]
    scan_depth, across = depth * look.factor[0], look.factor[1]
    step = max(0.03, 4 * across / scan_depth)
    shifts = np.arange(-int(TILTS / step), int(TILTS / step) + 1) * step
    found: list[tuple[float, Axis]] = []
    middle = look.middle
    for tilt in product(shifts, shifts):
        total = np.zeros_like(votes[0])
        for each, z in zip(votes, middles, strict=True):
            total += np.roll(each, [round(-t * (z - middle) / across) for t in tilt], axis=(0, 1))
        peaks = np.argwhere((total == maximum_filter(total, 5)) & (total > 0.5 * total.max()))
        for y, x in peaks[np.argsort(-total[tuple(peaks.T)])][:2]:
            at = [look.in_scan(np.array(float(v - pad)), axis) for v, axis in ((y, 1), (x, 2))]
            centre = (float(at[0]) - tilt[0] * middle, float(at[1]) - tilt[1] * middle)
            found.append((float(total[y, x]), Axis(centre, (float(tilt[0]), float(tilt[1])))))
    found.sort(key=lambda each: -each[0])
    return [axis for _, axis in found[:AXES]]


def _votes(look: Coarse, start: int, stop: int, pad: int) -> Floats:
    """How many steps of the mean of some slices point to every place of the slice, with `pad` around it."""
    dy, dx = look.slope[1, start:stop].mean(axis=0), look.slope[2, start:stop].mean(axis=0)
    size = np.hypot(dy, dx)
    seen = look.seen[start:stop].all(axis=0)
    if not seen.any():
        return np.zeros(tuple(n + 2 * pad for n in size.shape))
    y, x = np.nonzero((size > max(0.03, np.percentile(size[seen], 70))) & seen)
    uy, ux = dy[y, x] / size[y, x], dx[y, x] / size[y, x]
    weight = np.minimum(size[y, x], 0.3)
    far = np.arange(6, max(size.shape), dtype=np.float64)
    shape = (size.shape[0] + 2 * pad, size.shape[1] + 2 * pad)
    total = np.zeros(shape)
    for sign in (-1, 1):
        py = np.rint(y[:, None] + sign * far * uy[:, None] + pad).astype(int)
        px = np.rint(x[:, None] + sign * far * ux[:, None] + pad).astype(int)
        inside = (py >= 0) & (px >= 0) & (py < shape[0]) & (px < shape[1])
        weights = np.broadcast_to(weight[:, None], py.shape)[inside]
        total += np.bincount(py[inside] * shape[1] + px[inside], weights, shape[0] * shape[1]).reshape(shape)
    return np.asarray(gaussian_filter(total, 1.0))


def _faces(look: Coarse, points: Points, axis: Axis, least: float) -> list[Face]:
    """The faces around an axis beyond which is nothing of the sample."""
    z, y, x = points.at
    (cy, cx), (ty, tx) = axis.centre, axis.tilt
    dy, dx = y - cy - ty * z, x - cx - tx * z
    distance = axis.cylinder(1.0).beyond(points.at) + 1
    outwards = (points.slope[1] * dy + points.slope[2] * dx) / np.maximum(np.hypot(dy, dx), 1e-6)
    narrow = LEAST_RADIUS * min(look.shape[1:]) * look.factor[1]
    return [
        face
        for face in faces_of(points, distance, outwards, least)
        if face.distance > narrow and _arc(look, axis, face.distance) > LEAST_ARC
    ]


def _arc(look: Coarse, axis: Axis, radius: float) -> float:
    """Share of a circle, in the middle slice, that lies in the scan."""
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    middle = look.middle
    inside = np.ones(360, np.bool_)
    for k, unit in enumerate((np.sin(angles), np.cos(angles))):
        at = axis.centre[k] + axis.tilt[k] * middle + radius * unit
        inside &= (at >= 0) & (at < look.shape[k + 1] * look.factor[k + 1])
    return float(inside.mean())


def _measured(face: Face, axis: Axis, look: Coarse, scan: Voxels) -> Cylinder:
    """The face as exactly as the scan's own voxels tell it."""
    cylinder = axis.cylinder(face.distance)
    for reach in (2.5 * look.factor[1] + 2, 4.0):
        sites, normals = _sites(cylinder, scan)
        seen = profiles(scan, sites, normals, reach)
        at = steps(seen, reach, face.sign)
        cylinder = _fitted(cylinder, sites + at[:, None] * normals, step_is_usual(seen))
    return cylinder


def step_is_usual(seen: Floats) -> npt.NDArray[np.bool_]:
    """Return which profiles (n, samples) have a step as high as most: not that from a particle to the wall."""
    known = ~np.isnan(seen)
    height = np.where(known, seen, -np.inf).max(axis=1) - np.where(known, seen, np.inf).min(axis=1)
    return np.asarray(height > 0.5 * robust_median(height))


def _sites(cylinder: Cylinder, scan: Voxels) -> tuple[Floats, Floats]:
    """Places on the face that lie in the scan, spread evenly, and the directions out."""
    many, shape = SITES * 12, np.array(scan.shape)
    index = np.arange(many)
    z = (index + 0.5) / many * (shape[0] - 1) * scan.edges[0]
    angle = index * np.pi * (3 - np.sqrt(5))
    (cy, cx), (ty, tx) = cylinder.centre, cylinder.tilt
    along = np.array([1, ty, tx]) / np.sqrt(1 + ty * ty + tx * tx)
    first = np.cross(along, [0, 0, 1.0])
    first = first / np.linalg.norm(first)
    second = np.cross(along, first)
    normals = np.sin(angle)[:, None] * first + np.cos(angle)[:, None] * second
    sites = np.stack([z, cy + ty * z, cx + tx * z], axis=1) + cylinder.radius * normals
    voxels = sites / scan.edges
    inside = ((voxels >= 1) & (voxels <= shape - 2)).all(axis=1) if shape[0] > 4 else _in_slices(voxels, shape)
    chosen = np.flatnonzero(inside)
    chosen = chosen[:: max(1, len(chosen) // SITES)]
    return sites[chosen], normals[chosen]


def _in_slices(voxels: Floats, shape: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return np.asarray(((voxels[:, 1:] >= 1) & (voxels[:, 1:] <= shape[1:] - 2)).all(axis=1))


def _fitted(start: Cylinder, points: Floats, use: npt.NDArray[np.bool_]) -> Cylinder:
    """The cylinder nearest to points (n, 3) of which some lie off it; `start` where too few are known."""
    known = points[use & np.isfinite(points).all(axis=1)]
    if len(known) < 12:
        return start
    middle, depth = known[:, 0].mean(), max(float(np.ptp(known[:, 0])), 1.0)
    tilted = depth > 0.2 * start.radius

    def cylinder(values: Floats) -> Cylinder:
        ty, tx = values[3:] / depth if tilted else start.tilt
        centre = (float(values[0] - ty * middle), float(values[1] - tx * middle))
        return Cylinder(kind="wall", centre=centre, tilt=(float(ty), float(tx)), radius=max(float(values[2]), 1.0))

    def off(values: Floats) -> Floats:
        return cylinder(values).beyond((known[:, 0], known[:, 1], known[:, 2]))

    at = [c + t * middle for c, t in zip(start.centre, start.tilt, strict=True)]
    first = np.array([*at, start.radius, *(t * depth for t in start.tilt)])
    best = least_squares(off, first, loss="soft_l1", f_scale=0.3).x
    near = np.abs(off(best)) < max(0.75, 1.5 * float(np.median(np.abs(off(best)))))
    known = known[near]
    return cylinder(least_squares(off, best, loss="soft_l1", f_scale=0.3).x)
