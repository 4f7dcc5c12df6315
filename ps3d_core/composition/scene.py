"""What a scan shows of materials whose place is known: each fills its voxels, and the scanner blurs all of it.

Labels say where particles end to the nearest voxel. Here their surface is where a mean over 27 labels is a half, so
that it lies between voxels, and it may be moved as a whole: labels that are too large or too small are set right.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]
States = npt.NDArray[np.int8]

_REACH: Final = 2.7
_STEEP: Final = 0.5
"""By how much a mean over 27 labels with binomial weights changes in a voxel's length at a flat surface."""


def taps_of(variance: float) -> Floats:
    """Return the weights of a Gaussian, which add up to 1, as far as they matter."""
    return gaussian(variance, max(2, math.ceil(_REACH * math.sqrt(variance))))


def gaussian(variance: float, reach: int) -> Floats:
    """Return 2 `reach` + 1 weights of a Gaussian, which add up to 1."""
    half = [math.exp(-(i * i) / (2 * variance)) for i in range(1, reach + 1)]
    whole = 1 + 2 * math.fsum(half)
    return np.array([w / whole for w in (*half[::-1], 1.0, *half)], np.float32)


@njit(nogil=True, cache=True)
def twice(taps: Floats) -> Floats:
    """Return the weights of a blur that is done twice, as far as those of one reach."""
    n = taps.size
    reach = n // 2
    out = np.zeros(n, np.float32)
    for i in range(n):
        for j in range(n):
            if reach <= i + j < reach + n:
                out[i + j - reach] += taps[i] * taps[j]
    return out


@njit(nogil=True, cache=True)
def blurred(values: Floats, taps: Floats) -> Floats:
    """Return an image (z, y, x) blurred along all axes by 2 n + 1 symmetric weights; it is 0 beyond its faces."""
    nz, ny, nx = values.shape
    one, other = np.empty_like(values), np.empty_like(values)
    _along(values.reshape(1, nz, ny * nx), taps, one.reshape(1, nz, ny * nx))
    _along(one, taps, other)
    _along_rows(other.reshape(nz * ny, nx), taps, one.reshape(nz * ny, nx))
    return one


@njit(nogil=True, cache=True)
def _along(values: Floats, taps: Floats, out: Floats) -> None:
    """Write weighted sums along the middle axis."""
    outer, n, inner = values.shape
    reach = taps.size // 2
    for a in range(outer):
        for i in range(n):
            to, own, w = out[a, i], values[a, i], taps[reach]
            for b in range(inner):
                to[b] = w * own[b]
            for t in range(1, reach + 1):
                w = taps[reach + t]
                if i >= t and i + t < n:
                    one, other = values[a, i - t], values[a, i + t]
                    for b in range(inner):
                        to[b] += w * (one[b] + other[b])
                elif i >= t or i + t < n:
                    one = values[a, i - t if i >= t else i + t]
                    for b in range(inner):
                        to[b] += w * one[b]


@njit(nogil=True, cache=True)
def _along_rows(values: Floats, taps: Floats, out: Floats) -> None:
    """Write weighted sums along the last axis."""
    rows, n = values.shape
    reach = taps.size // 2
    wide = np.zeros(n + 2 * reach, np.float32)
    for a in range(rows):
        wide[reach : reach + n] = values[a]
        to, w = out[a], taps[reach]
        for x in range(n):
            to[x] = w * wide[x + reach]
        for t in range(reach):
            w, back = taps[t], 2 * reach - t
            one, other = wide[t : t + n], wide[back : back + n]
            for x in range(n):
                to[x] += w * (one[x] + other[x])


@njit(nogil=True, cache=True)
def filled(near: Floats, shift: float) -> Floats:
    """Return how much of each voxel particles fill, with their surface moved outwards by `shift` voxels.

    `near` are means over 27 labels, of which 0 stays empty and 1 full.
    """
    out = np.empty_like(near)
    means, fill = near.reshape(-1), out.reshape(-1)
    none, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    slope, moved = np.float32(1 / _STEEP), np.float32(0.5 + shift)
    for i in range(means.size):
        n = means[i]
        part = min(max((n - half) * slope + moved, none), one)
        fill[i] = part if none < n < one else n
    return out


def scanned(states: States, values: Floats, fill: Floats, taps: Floats) -> Floats:
    """Return the scan (k, z, y, x) of materials with grey values `values` (materials, k) above the background."""
    out = np.empty((values.shape[1], *states.shape), np.float32)
    for k in range(values.shape[1]):
        out[k] = blurred(_sharp(states, values[:, k].copy(), fill), taps)
    return out


def shares_of(states: States, materials: int, fill: Floats, taps: Floats) -> Floats:
    """Return the scan (materials, z, y, x) of each material alone with a grey value of 1; that of background is 0."""
    out = np.zeros((materials, *states.shape), np.float32)
    there = np.bincount(states.reshape(-1), minlength=materials)
    for p in range(1, materials):
        if there[p]:
            alone = np.zeros(materials, np.float32)
            alone[p] = 1
            out[p] = blurred(_sharp(states, alone, fill), taps)
    return out


@njit(nogil=True, cache=True)
def _sharp(states: States, values: Floats, fill: Floats) -> Floats:
    """Grey values of voxels by what is in them and how much of it."""
    out = np.empty_like(fill)
    kinds, parts, to = states.reshape(-1), fill.reshape(-1), out.reshape(-1)
    for i in range(kinds.size):
        to[i] = values[kinds[i]] * parts[i]
    return out


@njit(nogil=True, cache=True)
def mixed(shares: Floats, values: Floats) -> Floats:
    """Return the scan (k, z, y, x) of materials with grey values `values` (materials, k), from that of each alone."""
    materials, nz, ny, nx = shares.shape
    images = values.shape[1]
    out = np.zeros((images, nz, ny, nx), np.float32)
    parts, to = shares.reshape(materials, nz * ny * nx), out.reshape(images, nz * ny * nx)
    for k in range(images):
        for p in range(1, materials):
            one, own, value = to[k], parts[p], values[p, k]
            for i in range(one.size):
                one[i] += value * own[i]
    return out
