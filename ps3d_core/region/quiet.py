"""Faces of walls by their shape: grey values step all over them, and beyond them nothing happens.

Everything is asked of shells: the coarse voxels at the same distance from an axis or along a normal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from ps3d_core.region.coarse import Coarse, Flags
from ps3d_core.region.region import Coordinates, Floats

LEAST_SHARE: Final = 0.3
"""Of a face that shows a step, as long as it is not known where exactly the face lies."""
CLEAR: Final = 0.5
"""Of a face that shows a step: particles as bright as the wall hide it where they touch it."""
AS_CLEAR: Final = 0.5
"""Share of the inner face, of that of the face that is seen best."""
FACE: Final = 0.75
"""Share of a shell with steps from which on it is another face, and nothing of the sample."""
LEAST_POINTS: Final = 50
"""Of a shell, or a side, about which something can be said."""
QUIET: Final = 0.3
"""Share of steps beyond a face, of that within it, at most."""
NEAR: Final = 4
"""Shells right beyond a face, which have to be quiet as well."""
QUIET_NEAR: Final = 0.45
STEP: Final = 0.05
"""Slope across a face that counts as a step, contrasts of the scan per coarse voxel."""
MOST: Final = 250_000
"""Points that are looked at."""


@dataclass(frozen=True)
class Points:
    """Coarse voxels, all or some spread evenly, one row each.

    at: coordinates in the scan (n,) each, voxels.
    slope: (3, n), as that of the coarse scan.
    steep: where grey values change, (n,).
    unit: edge of a coarse voxel in y and x, voxels of the scan.
    voxel: volume of the scan that each stands for, voxels.
    """

    at: Coordinates
    slope: Floats
    steep: Flags
    unit: float
    voxel: float

    @classmethod
    def of(cls, look: Coarse) -> Points:
        """Return those of a coarse scan that are seen."""
        seen = np.flatnonzero(look.seen)
        # No divisor of a side, which would take whole planes of voxels and leave others.
        every = max(1, len(seen) // MOST)
        chosen = seen[:: every + (every % 2 == 0)] if every > 1 else seen
        voxel = float(np.prod(look.factor)) * len(seen) / max(1, len(chosen))
        z, y, x = (np.broadcast_to(each, look.shape).reshape(-1)[chosen] for each in look.coordinates)
        slope = look.slope.reshape(3, -1)[:, chosen].astype(np.float64)
        return cls((z, y, x), slope, look.steep.reshape(-1)[chosen], float(look.factor[1]), voxel)

    def where(self, flags: Flags) -> Points:
        """Return those with a flag, (n,)."""
        z, y, x = (each[flags] for each in self.at)
        return Points((z, y, x), self.slope[:, flags], self.steep[flags], self.unit, self.voxel)


class Face(NamedTuple):
    """Shell on which grey values step: its distance, sign of the step outwards, share of the shell that has it."""

    distance: float
    sign: int
    share: float


def faces_of(points: Points, distance: Floats, outwards: Floats, least: float) -> list[Face]:
    """Return the faces beyond which is nothing of the sample, the innermost first, of a share of at least `least`.

    `distance` (n,) is from the axis or along the normal, voxels of the scan, `outwards` (n,) the slope that way.
    """
    low = float(distance.min())
    shell = np.rint((distance - low) / points.unit).astype(np.int64)
    count = int(shell.max()) + 1
    size = np.maximum(np.bincount(shell, minlength=count), LEAST_POINTS)
    found = []
    for sign in (-1, 1):
        share = np.bincount(shell[sign * outwards > STEP], minlength=count) / size
        smooth = gaussian_filter1d(share, 0.7, mode="nearest")
        around = maximum_filter1d(share, 3)
        peak = (smooth == maximum_filter1d(smooth, 5)) & (around >= least)
        found += [Face(low + float(k) * points.unit, sign, float(around[k])) for k in np.flatnonzero(peak)]
    return sorted(face for face in found if is_bound(points, distance - face.distance))


def clearest(faces: Iterable[Face]) -> Face | None:
    """Return the face that is seen best, which says where exactly the others are."""
    return max(faces, key=lambda face: face.share, default=None)


def innermost(faces: Sequence[Face]) -> Face | None:
    """Return the inner face of a wall: the first that is seen about as well as the clearest.

    Where a packing ends at a wall, many of its particles end at the same distance from it, but not most.
    """
    best = max((face.share for face in faces), default=0.0)
    return next((face for face in faces if face.share >= max(CLEAR, AS_CLEAR * best)), None)


def is_bound(points: Points, beyond: Floats) -> bool:
    """Return whether all that happens is on one side of a face: `beyond` (n,) is the distance past it, voxels.

    Faces themselves do not count on either side.
    """
    inner, outer = beyond < -2.5 * points.unit, beyond > 1.5 * points.unit
    if min(inner.sum(), outer.sum()) < LEAST_POINTS:
        return False
    inside = float(points.steep[inner].mean())
    shell = (beyond[outer] / points.unit).astype(np.int64)
    size = np.bincount(shell)
    share = np.bincount(shell[points.steep[outer]], minlength=len(size)) / np.maximum(size, 1)
    faces = maximum_filter1d(share > FACE, 5) & (share > QUIET * inside)  # and their flanks
    sample = (size > 0) & ~faces
    rest = np.repeat(share[sample], size[sample])
    if inside == 0 or len(rest) < LEAST_POINTS:
        return False
    near = np.average(share[sample][:NEAR], weights=size[sample][:NEAR])
    return bool(np.median(rest) <= QUIET * inside and near <= QUIET_NEAR * inside)
