"""What a scan shows of materials whose place is known: each fills its voxels, and the scanner blurs all of it.

Labels say where particles end to the nearest voxel. Here their surface is where a mean over 27 labels is a half, so
that it lies between voxels, and it may be moved as a whole: labels that are too large or too small are set right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
States = npt.NDArray[np.int8]

_REACH: Final = 2.7
_STEEP: Final = 0.5
"""By how much a mean over 27 labels with binomial weights changes in a voxel's length at a flat surface."""


@njit(nogil=True, cache=True)
def taps_of(variance: float) -> Floats:
    """Return the weights of a Gaussian, which add up to 1, as far as they matter."""
    reach = max(2, int(np.ceil(_REACH * np.sqrt(variance))))
    taps: Floats = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance)).astype(np.float32)
    taps /= taps.sum()
    return taps


@njit(nogil=True, cache=True)
def twice(taps: Floats) -> Floats:
    """Return the weights of a blur that is done twice."""
    n = taps.size
    out = np.zeros(2 * n - 1, np.float32)
    for i in range(n):
        for j in range(n):
            out[i + j] += taps[i] * taps[j]
    return out


@njit(nogil=True, cache=True)
def blurred(values: Floats, taps: Floats) -> Floats:
    """Return an image (z, y, x) blurred along all axes; it is 0 beyond its faces."""
    nz, ny, nx = values.shape
    one, other = np.zeros_like(values), np.zeros_like(values)
    _along(values.reshape(1, nz, ny * nx), taps, one.reshape(1, nz, ny * nx))
    _along(one, taps, other)
    one[:] = 0
    _along_rows(other.reshape(nz * ny, nx), taps, one.reshape(nz * ny, nx))
    return one


@njit(nogil=True, cache=True)
def _along(values: Floats, taps: Floats, out: Floats) -> None:
    """Add up along the middle axis."""
    outer, n, inner = values.shape
    reach = taps.size // 2
    for a in range(outer):
        for i in range(n):
            for t in range(max(i - reach, 0), min(i + reach + 1, n)):
                w = taps[t - i + reach]
                for b in range(inner):
                    out[a, i, b] += w * values[a, t, b]


@njit(nogil=True, cache=True)
def _along_rows(values: Floats, taps: Floats, out: Floats) -> None:
    """Add up along the last axis."""
    rows, n = values.shape
    reach = taps.size // 2
    for a in range(rows):
        for t in range(-reach, reach + 1):
            w = taps[t + reach]
            for x in range(max(0, -t), min(n, n - t)):
                out[a, x] += w * values[a, x + t]


@njit(nogil=True, cache=True)
def filled(near: Floats, shift: float) -> Floats:
    """Return how much of each voxel particles fill, with their surface moved outwards by `shift` voxels.

    `near` are means over 27 labels, of which 0 stays empty and 1 full.
    """
    out = np.empty_like(near)
    moved = np.float32(0.5 + shift)
    for i in range(near.size):
        n = near.flat[i]
        part = (n - np.float32(0.5)) / np.float32(_STEEP) + moved
        out.flat[i] = n if n in (0, 1) else min(max(part, np.float32(0)), np.float32(1))
    return out


@njit(nogil=True, cache=True)
def scanned(states: States, values: Floats, fill: Floats, taps: Floats) -> Floats:
    """Return the scan (k, z, y, x) of materials with grey values `values` (materials, k) above the background."""
    images = values.shape[1]
    out = np.empty((images, *states.shape), np.float32)
    sharp = np.empty(states.shape, np.float32)
    for k in range(images):
        for i in range(states.size):
            sharp.flat[i] = values[states.flat[i], k] * fill.flat[i]
        out[k] = blurred(sharp, taps)
    return out
