"""Flat walls: a face that spans the scan, with nothing of the sample beyond it.

Every step of grey value votes for the plane it would lie on, by its direction and its place. A particle's facet is few
votes, a wall as many as its area.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

from ps3d_core.region.coarse import Coarse
from ps3d_core.region.edges import Voxels, profiles, steps
from ps3d_core.region.quiet import CLEAR, LEAST_SHARE, Face, Points, clearest, faces_of, innermost
from ps3d_core.region.region import Cylinder, Floats, HalfSpace
from ps3d_core.region.tube import step_is_usual

DIRECTIONS: Final = 3000
"""Directions over all of a sphere, about 3.5 degrees apart."""
VOTES: Final = 40_000
"""Steps that vote, at most."""
PLANES: Final = 24
"""Planes that are looked at closely."""
TRIED: Final = 3
"""Planes that are measured, the clearest first, until one has an inner face."""
MOST: Final = 6
"""Flat walls of one container."""
SPANNED: Final = 0.25
"""Area of a flat wall, as a share of the middling face of the scan, at least."""
SITES: Final = 160


def walls_in(look: Coarse, scan: Voxels, within: Sequence[Cylinder] = ()) -> tuple[HalfSpace, ...]:
    """Return the inner faces of flat walls, the clearest first, of what lies `within` other bounds.

    `scan` has its own voxels.
    """
    points = Points.of(look)
    found: list[HalfSpace] = []
    for bound in within:
        points = _within(points, bound)
    while len(found) < MOST and (wall := _wall(points, look, scan, [*within, *found])) is not None:
        found.append(wall)
        points = _within(points, wall)
    return tuple(found)


def _within(points: Points, bound: Cylinder | HalfSpace) -> Points:
    """Those that lie clearly within a bound."""
    return points.where(bound.beyond(points.at) < -3.5 * points.unit)


def _wall(points: Points, look: Coarse, scan: Voxels, within: Sequence[Cylinder | HalfSpace]) -> HalfSpace | None:
    """The inner face of the wall that is seen best."""
    found = [
        (face, normal)
        for normal in _normals(points)
        if (face := clearest(_faces(points, look, normal, LEAST_SHARE))) is not None
    ]
    # The face that is seen best says how the wall lies; only along that normal are shells as thin as they are.
    for face, normal in sorted(found, key=lambda each: -each[0].share)[:TRIED]:
        exact = np.array(_measured(face, normal, look, scan, within).normal)
        if (inner := innermost(_faces(points, look, exact, CLEAR))) is not None:
            return _measured(inner, exact, look, scan, within)
    return None


def _normals(seen: Points) -> list[Floats]:
    """Normals of the planes on which most steps lie."""
    if not seen.steep.any():
        return []
    steep = np.flatnonzero(seen.steep)
    steep = steep[:: max(1, len(steep) // VOTES)]
    slope, points = seen.slope[:, steep].T, np.stack([each[steep] for each in seen.at], axis=1)
    unit = slope / np.linalg.norm(slope, axis=1)[:, None]
    directions = _sphere(DIRECTIONS)
    nearest = cKDTree(directions).query(unit)[1]
    middle = points.mean(axis=0)
    place = np.rint(((points - middle) * directions[nearest]).sum(axis=1) / (2 * seen.unit)).astype(np.int64)
    place -= place.min()
    votes = np.bincount(nearest * (place.max() + 1) + place, minlength=DIRECTIONS * (place.max() + 1))
    best = votes.reshape(DIRECTIONS, -1).max(axis=1)
    found: list[Floats] = []
    for index in np.argsort(-best)[: 20 * PLANES]:
        if best[index] < 20 or len(found) >= PLANES:
            break
        bin_ = votes.reshape(DIRECTIONS, -1)[index].argmax()
        near = (nearest == index) & (np.abs(place - bin_) <= 1)
        normal = unit[near].mean(axis=0)
        normal = _flattened(points, unit, normal / np.linalg.norm(normal), points[near].mean(axis=0), seen.unit)
        if all(abs(float(normal @ other)) < 0.999 for other in found):
            found.append(normal)
    return [sign * normal for normal in found for sign in (-1, 1)]


def _flattened(points: Floats, unit: Floats, normal: Floats, at: Floats, voxel: float) -> Floats:
    """The `normal` of the plane through `at`, from all steps on it that point its way."""
    for width, angle in ((2.5, 0.94), (1.5, 0.96), (1.2, 0.97)):
        near = (np.abs((points - at) @ normal) < width * voxel) & (unit @ normal > angle)
        if near.sum() < 12:
            return normal
        at = points[near].mean(axis=0)
        _, _, axes = np.linalg.svd(points[near] - at, full_matrices=False)
        better = axes[2] * np.sign(axes[2] @ normal)
        if better @ normal < 0.95:  # so few that they lie on a line
            return normal
        normal = better
    return normal


def _sphere(count: int) -> Floats:
    """Directions spread evenly over a sphere, (count, 3): a Fibonacci lattice."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = np.pi * (1 + np.sqrt(5)) * index
    flat = np.sqrt(1 - z * z)
    return np.stack([z, flat * np.sin(angle), flat * np.cos(angle)], axis=1)


def _faces(points: Points, look: Coarse, normal: Floats, least: float) -> list[Face]:
    """The faces across a direction that span the scan and beyond which is nothing of the sample."""
    if not len(points.steep):
        return []
    distance = np.tensordot(normal, np.stack(points.at), axes=1)
    # As many voxels as a middling face of the scan has, of those that are looked at.
    z, y, x = np.array(look.shape) * look.factor
    span = sorted((z * y, z * x, y * x))[1] * points.unit / points.voxel
    return [
        face
        for face in faces_of(points, distance, np.tensordot(normal, points.slope, axes=1), least)
        if (np.abs(distance - face.distance) < 0.5 * points.unit).sum() > SPANNED * span
    ]


def _measured(
    face: Face, normal: Floats, look: Coarse, scan: Voxels, within: Sequence[Cylinder | HalfSpace]
) -> HalfSpace:
    """The face as exactly as the scan's own voxels tell it."""
    plane = _plane(normal, face.distance)
    for reach in (2.5 * look.factor[1] + 2, 4.0):
        sites = _sites(plane, look, within)
        normals = np.broadcast_to(np.array(plane.normal), sites.shape)
        seen = profiles(scan, sites, normals, reach)
        at = steps(seen, reach, face.sign)
        plane = _fitted(plane, sites + at[:, None] * normals, step_is_usual(seen))
    return plane


def _plane(normal: Floats, offset: float) -> HalfSpace:
    z, y, x = map(float, normal)
    return HalfSpace(kind="wall", normal=(z, y, x), offset=float(offset))


def _sites(plane: HalfSpace, look: Coarse, within: Sequence[Cylinder | HalfSpace]) -> Floats:
    """Places on the face that lie in the scan and within other bounds, spread evenly."""
    beyond = plane.beyond(look.coordinates)
    near = look.seen & (np.abs(beyond) < look.factor[1])
    for bound in within:
        near &= bound.beyond(look.coordinates) < -3 * look.factor[1]
    points = np.stack([np.broadcast_to(each, look.shape)[near] for each in look.coordinates], axis=1)
    points -= beyond[near][:, None] * np.array(plane.normal)
    return points[:: max(1, len(points) // SITES)]


def _fitted(start: HalfSpace, points: Floats, use: npt.NDArray[np.bool_]) -> HalfSpace:
    """The plane nearest to points (n, 3) of which some lie off it; `start` where too few are known."""
    known = points[use & np.isfinite(points).all(axis=1)]
    if len(known) < 12:
        return start
    middle, normal = known.mean(axis=0), np.array(start.normal)
    spread = max(float(np.ptp(known, axis=0).max()), 1.0)
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    second = np.cross(normal, first)

    def plane(values: Floats) -> HalfSpace:
        turned = normal + (values[1] * first + values[2] * second) / spread
        turned = turned / np.linalg.norm(turned)
        return _plane(turned, turned @ middle + values[0])

    def off(values: Floats) -> Floats:
        return plane(values).beyond((known[:, 0], known[:, 1], known[:, 2]))

    best = least_squares(off, np.zeros(3), loss="soft_l1", f_scale=0.3).x
    near = np.abs(off(best)) < max(0.75, 1.5 * float(np.median(np.abs(off(best)))))
    known = known[near]
    return plane(least_squares(off, best, loss="soft_l1", f_scale=0.3).x)
