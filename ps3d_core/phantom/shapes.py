"""Prototypes of particle shapes: a ball cut by planes, edges rounded.

A particle is one prototype, stretched along three axes and rotated. A ball without cuts is an ellipsoid (river sand),
many deep cuts leave a polyhedron (crushed rock), shallow cuts are in between. A bank of prototypes keeps a particle
list of millions of rows small. Every prototype has the volume of the unit ball, so a particle's equivalent diameter
is known before it is drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.phantom.params import PhantomParams

MAX_PLANES = 16
_COUNT = 160
_DIRECTIONS = 600


class Bank(NamedTuple):
    """Prototypes with the volume of the unit ball.

    planes: (prototypes, MAX_PLANES, 4) float64, unit normal (z, y, x) and distance from the centre;
    cuts: (prototypes,) int64, number of planes; ball: (prototypes,) float64, radius of the ball that is cut;
    rounding: (prototypes,) float64, radius of the rounded edges.
    """

    planes: npt.NDArray[np.float64]
    cuts: npt.NDArray[np.int64]
    ball: npt.NDArray[np.float64]
    rounding: npt.NDArray[np.float64]


def make_bank(params: PhantomParams) -> Bank:
    """Return the prototypes of a phantom; the first `angular_fraction` of them are faceted."""
    rng = np.random.default_rng([params.seed, 1])
    planes = np.zeros((_COUNT, MAX_PLANES, 4))
    count = np.zeros(_COUNT, np.int64)
    ball = np.ones(_COUNT)
    angular = np.arange(_COUNT) < round(params.angular_fraction * _COUNT)
    for i in range(_COUNT):
        low, high = params.facets if angular[i] else (0, params.rounded_cuts)
        count[i] = n = int(rng.integers(low, high + 1))
        planes[i, :n, :3] = _spread_directions(rng, n)
        planes[i, :n, 3] = rng.uniform(0.62, 0.95, n) if angular[i] else rng.uniform(0.75, 0.95, n)
        ball[i] = rng.uniform(1.02, 1.3) if angular[i] else 1.0
    rounding = params.edge_rounding * rng.uniform(0.4, 1.0, _COUNT) + 1e-3
    scale = np.cbrt(_volumes(Bank(planes, count, ball, rounding), _fibonacci(_DIRECTIONS)))
    planes[:, :, 3] /= scale[:, None]
    return Bank(planes, count, ball / scale, rounding / scale)


def _spread_directions(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """`n` random unit vectors; each is the candidate farthest from the ones before, so facets face all sides."""
    chosen = np.zeros((n, 3))
    for i in range(n):
        candidates = rng.standard_normal((6, 3))
        candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
        nearest = (candidates @ chosen[:i].T).max(axis=1) if i else np.zeros(6)
        chosen[i] = candidates[int(np.argmin(nearest))]
    return chosen


def _fibonacci(n: int) -> npt.NDArray[np.float64]:
    """Evenly spread directions: a golden-angle spiral on the sphere."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    phi = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([z, r * np.sin(phi), r * np.cos(phi)], axis=1)


@njit(nogil=True, cache=True)
def _volumes(bank: Bank, directions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Volume / volume of the unit ball: mean cubed radius over all directions (the shapes are star shaped)."""
    planes, count, ball, rounding = bank
    out = np.zeros(len(ball))
    for p in range(len(ball)):
        total = 0.0
        for d in range(len(directions)):
            low, high = 0.0, ball[p]
            for _ in range(14):
                t = 0.5 * (low + high)
                f = t - ball[p]
                for k in range(count[p]):
                    g = -planes[p, k, 3]
                    for a in range(3):
                        g += planes[p, k, a] * directions[d, a] * t
                    blend = max(rounding[p] - abs(f - g), 0.0)
                    f = max(f, g) + blend * blend / (4.0 * rounding[p])
                if f < 0.0:
                    low = t
                else:
                    high = t
            total += low**3
        out[p] = total / len(directions)
    return out
