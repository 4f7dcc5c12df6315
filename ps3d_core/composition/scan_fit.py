"""What a scan of known phases needs beside them, fitted to the scan there is by least squares.

That is the blur, where it is not given, and how far the surface of the particle is from where its labels have it; and
grey values of the phases, where voxels of one alone are seen. A blurred image changes with the variance of the blur as
half its Laplacian, as a Gaussian solves the equation of diffusion, and with a move of the surface as its slope across
it: so each step of Gauss and Newton solves two equations.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.materials import Materials
from ps3d_core.composition.observed import OWN, Observed
from ps3d_core.composition.scene import Floats, States

Doubles = npt.NDArray[np.float64]

VARIANCES: Final = (0.16, 6.0)
"""Least and most that the blur is fitted as, voxels squared."""
_VARIANCE_STEP: Final = 0.8
_MOST_SHIFT: Final = 0.7
_PURE: Final = 0.8
_PRIOR: Final = 3.0
"""Voxels that the grey value of a phase as it was given counts as much as."""


@njit(nogil=True, cache=True)
def fit_values(seen: Observed, states: States, shares: Floats, values: Floats, m: Materials) -> None:
    """Set grey values of phases to those of the voxels that show one alone, or nearly so, within its interval."""
    phases, images = m.mean.shape
    n = states.size
    kinds, free = states.reshape(-1), seen.free.reshape(-1)
    parts, rest, before = shares.reshape(1 + phases, n), seen.rest.reshape(images, n), values.copy()
    for p in range(1, 1 + phases):
        there = False
        for i in range(n):
            there |= free[i] == OWN and kinds[i] == p
        if not there:
            continue
        for k in range(images):
            if seen.weight[k]:
                low, given, high = m.low[p - 1, k], m.mean[p - 1, k], m.high[p - 1, k]
                found = _value(rest[k], parts, free, before[:, k].copy(), p, given - m.background[k])
                values[p, k] = min(max(found, low - m.background[k]), high - m.background[k])


@njit(nogil=True, cache=True)
def _value(rest: Floats, parts: Floats, free: States, values: Floats, own: int, given: np.float32) -> np.float32:
    """Grey value of a phase from what is left of voxels without all others, and its share in them."""
    total, whole = float(_PRIOR * given), _PRIOR
    for i in range(rest.size):
        if free[i] == OWN and parts[own, i] > _PURE and not np.isnan(rest[i]):
            others = np.float32(0)
            for p in range(1, values.size):
                if p != own:
                    others += values[p] * parts[p, i]
            total += rest[i] - others
            whole += parts[own, i]
    return np.float32(total / whole)


@njit(nogil=True, cache=True)
def fit_step(seen: Observed, scan: Floats, shift: float, variance: float, blur_too: bool) -> tuple[float, float]:
    """Return the move of the surface and the variance of the blur after one step of least squares.

    They stay as they were where the scan tells nothing of them.
    """
    sums = np.zeros(5, np.float64)
    for k in range(scan.shape[0]):
        if seen.weight[k]:
            _add_products(seen, scan[k], k, sums)
    aa, ab, bb, ar, br = sums
    if aa <= 0:
        return shift, variance
    if not blur_too:
        return _within(shift + ar / aa, -_MOST_SHIFT, _MOST_SHIFT), variance
    least = aa * bb - ab * ab
    if least <= 1e-12 * aa * bb:
        return shift, variance
    wider = _within((aa * br - ab * ar) / least, -_VARIANCE_STEP, _VARIANCE_STEP)
    return (
        _within(shift + (bb * ar - ab * br) / least, -_MOST_SHIFT, _MOST_SHIFT),
        _within(variance + wider, VARIANCES[0], VARIANCES[1]),
    )


@njit(nogil=True, cache=True)
def _add_products(seen: Observed, scan: Floats, k: int, sums: Doubles) -> None:
    """Add products of how the scan changes with the surface, with the blur, and of what it lacks, at the surface."""
    nz, ny, nx = scan.shape
    near, half = seen.wide, np.float32(0.5)
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if not 0 < near[z, y, x] < 1 or seen.others[z, y, x]:
                    continue
                lacks = seen.rest[k, z, y, x] - scan[z, y, x]
                if np.isnan(lacks):
                    continue
                down, up = scan[z - 1, y, x], scan[z + 1, y, x]
                front, back = scan[z, y - 1, x], scan[z, y + 1, x]
                left, right = scan[z, y, x - 1], scan[z, y, x + 1]
                blur = half * (down + up + front + back + left + right - np.float32(6) * scan[z, y, x])
                az, ay = near[z + 1, y, x] - near[z - 1, y, x], near[z, y + 1, x] - near[z, y - 1, x]
                ax = near[z, y, x + 1] - near[z, y, x - 1]
                length = max(np.sqrt(az * az + ay * ay + ax * ax), np.float32(1e-6))
                move = half * ((up - down) * az + (back - front) * ay + (right - left) * ax) / length
                w = seen.weight[k]
                sums[0] += w * move * move
                sums[1] += w * move * blur
                sums[2] += w * blur * blur
                sums[3] += w * move * lacks
                sums[4] += w * blur * lacks


@njit(nogil=True, cache=True)
def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
