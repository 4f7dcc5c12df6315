"""Weights for what the faces of a scan cut (Miles 1974, Lantuejoul 1978; ISO 13322-1 has the plane case).

A particle that is cut shows less than its size, so only whole ones may count; but a large one is whole less often, so
these lean to the fine side. Of all places that a particle could have in the window, it is whole in a share that its
bounding box tells. A whole particle stands for all of its kind that the window holds, cut or not: its weight is one
over that share,

    weight = 1 / product over axes of (W_i - w_i) / W_i,

with the sides W of the window and w of the box. In voxels a particle counts as cut when it takes in the outermost ones,
so that of W places W - w - 1 leave it whole. These weights are exact for any shape of particle in a box.

In a region (tube, field of view) the places are counted: the share of points of a fixed, even set in it around which
the box lies inside all cutting bounds, for a grid of sizes of boxes, and between them by interpolation. There a
particle counts as whole when its box is, not it alone, which is a stricter rule, and makes the share right for any
shape. Walls of a container cut nothing: they only bound where a particle can be. A mask has no bounds to reckon with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RegularGridInterpolator
from scipy.stats.qmc import Sobol

from ps3d_core.granulometry.curve import Floats
from ps3d_core.particles.window import Window
from ps3d_core.region.region import Cylinder, HalfSpace

Flags = npt.NDArray[np.bool_]
Bounds = tuple[Cylinder | HalfSpace, ...]

POINTS: Final = 2**13
"""Places that are tried in a region."""
STEPS: Final = 9
"""Sizes of boxes along each axis for which places are counted."""
LEAST_SHARE: Final = 0.005
"""Of places that leave a particle whole; a smaller one is as good as none, since few points tell it."""


@dataclass(frozen=True)
class EdgeWeights:
    """Weights of particles by their boxes, in one window; `largest` are the longest sides of all boxes, voxels."""

    window: Window
    largest: tuple[int, int, int]

    def of(self, low: npt.NDArray[np.integer], high: npt.NDArray[np.integer], cut: Flags) -> tuple[Floats, Floats]:
        """Return the weights (n,) of particles, 0 for what is cut, and the shares of places that leave each whole.

        `low` and `high` (n, 3) are the first voxels of their boxes and those after the last, `cut` (n,) whether the
        table says that they are cut.
        """
        sides = (high - low).astype(np.float64)
        shares = self._shares(sides)
        whole = ~cut & (shares > 0)
        if self.window.region.cutting:
            whole &= self._inside(low, high)
        return np.where(whole, 1 / np.where(shares > 0, shares, 1.0), 0.0), shares

    def _shares(self, sides: Floats) -> Floats:
        if self.window.region:
            shares = self._counted(np.minimum(sides, self.largest)) ** 3
            return np.where(shares < LEAST_SHARE, 0.0, shares)
        shape = np.array(self.window.shape, np.float64)
        return np.asarray(np.prod(np.maximum(shape - sides - 1, 0) / shape, axis=1))

    def _inside(self, low: npt.NDArray[np.integer], high: npt.NDArray[np.integer]) -> Flags:
        """Whether boxes (n, 3) lie inside all cutting bounds."""
        first, last = low.astype(np.float64), high.astype(np.float64) - 1
        return _corners_inside(self._cutting, (first + last) / 2, (last - first) / 2, self._edges)

    @cached_property
    def _edges(self) -> Floats:
        return np.array(self.window.region.edges)

    @cached_property
    def _cutting(self) -> Bounds:
        """Cutting bounds as far inside as a particle counts as cut."""
        away = float((np.array(self.window.margin) * self._edges).max())
        return tuple(each.grown(-min(away, _room(each))) for each in self.window.region.cutting.bounds)

    @cached_property
    def _counted(self) -> RegularGridInterpolator:
        """Cubic root of the share of places by the sides of a box, voxels: it is nearly straight."""
        shape = np.array(self.window.shape, np.float64)
        steps = [np.linspace(0.0, side, STEPS) for side in self.largest]
        shares = np.array([self._share_of(np.array(sides), shape) for sides in product(*steps)])
        return RegularGridInterpolator(steps, np.cbrt(shares).reshape((STEPS,) * 3))

    def _share_of(self, sides: Floats, shape: Floats) -> float:
        """Share of places at which a box of these `sides` is whole, of all in which its middle is in the window."""
        centres, half = self._places, np.maximum(sides - 1, 0) / 2
        walls = tuple(each for each in self.window.region.bounds if not each.cuts)
        possible = _corners_inside(walls, centres, half, self._edges)
        if not possible.any():
            return 0.0
        # A box lies at whole voxels, each of which stands for places half a voxel around.
        whole = possible & (centres - half >= 0.5).all(axis=1) & (centres + half <= shape - 1.5).all(axis=1)
        whole[whole] = _corners_inside(self._cutting, centres[whole], half, self._edges)
        return float(whole.sum() / possible.sum())

    @cached_property
    def _places(self) -> Floats:
        """Even set of points in the window (k, 3), voxels."""
        points = Sobol(3, scramble=False).random(POINTS) * self.window.shape - 0.5
        return np.asarray(points[_corners_inside(self.window.region.cutting.bounds, points, np.zeros(3), self._edges)])


def _room(bound: Cylinder | HalfSpace) -> float:
    """How far a bound can be moved in and stay one."""
    return bound.radius * 0.99 if isinstance(bound, Cylinder) else np.inf


def _corners_inside(bounds: Bounds, centres: Floats, half: Floats, edges: Floats) -> Flags:
    """Whether boxes around `centres` (n, 3), `half` (3,) or (n, 3) to each side, lie inside convex bounds."""
    inside = np.ones(len(centres), np.bool_)
    for signs in product((-1.0, 1.0), repeat=3) if bounds else ():
        z, y, x = ((centres + half * np.array(signs)) * edges).T
        for bound in bounds:
            inside &= bound.beyond((z, y, x)) <= 0
    return inside
