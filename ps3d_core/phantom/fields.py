"""Random numbers that belong to places: hashes of absolute voxel coordinates.

A stream of random numbers depends on who drew before; a hash of (seed, z, y, x) does not. Everything random that is
evaluated per voxel comes from here, so a box has the same bytes however the volume is cut.
The hash is the finaliser of MurmurHash3 (A. Appleby, public domain) over a linear combination of the coordinates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box

Floats = npt.NDArray[np.float32]

_Z = np.uint64(0x9E3779B97F4A7C15)
_Y = np.uint64(0xC2B2AE3D27D4EB4F)
_X = np.uint64(0x165667B19E3779F9)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_S33 = np.uint64(33)
_S16 = np.uint64(16)
_S32 = np.uint64(32)
_S48 = np.uint64(48)
_MASK16 = np.uint64(0xFFFF)
_S40 = np.uint64(40)
_GAUSS = np.float32(1.0 / 37837.22)  # sum of four uniform 16-bit numbers: variance 4 * 65536^2 / 12


@njit(nogil=True, cache=True, inline="always")
def hash3(seed: np.uint64, z: int, y: int, x: int) -> np.uint64:
    """Return 64 random bits of a place."""
    h = seed + np.uint64(z) * _Z + np.uint64(y) * _Y + np.uint64(x) * _X
    h = (h ^ (h >> _S33)) * _M1
    h = (h ^ (h >> _S33)) * _M2
    return h ^ (h >> _S33)


@njit(nogil=True, cache=True, inline="always")
def unit(h: np.uint64) -> np.float32:
    """Return the upper 24 bits of a hash as a number in [0, 1), float32."""
    return np.float32(h >> _S40) * np.float32(1.0 / 16777216.0)


def key(seed: int, purpose: int) -> np.uint64:
    """Return a hash seed for one purpose of one phantom."""
    return np.uint64(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0])


def white_noise(seed: np.uint64, box: Box) -> Floats:
    """Return nearly Gaussian noise on the voxels of `box`, float32, independent per voxel.

    Its mean is 0 and its standard deviation 1.
    """
    out = np.empty(box.shape, np.float32)
    _white(seed, box.start[0], box.start[1], box.start[2], out)
    return out


def smooth_field(seed: np.uint64, box: Box, spacing: float) -> Floats:
    """Return value noise in [-1, 1] on the voxels of `box`, float32.

    Random numbers on a lattice of `spacing` voxels are blended smoothly in between.
    """
    z, y, x = (_lattice(start, n, spacing) for start, n in zip(box.start, box.shape, strict=True))
    out = np.empty(box.shape, np.float32)
    _blend(seed, z, y, x, out)
    return out


class _Lattice(NamedTuple):
    """Lattice cell and place in it (0 to 1, eased) of every voxel along one axis."""

    cell: npt.NDArray[np.int64]
    weight: Floats


def _lattice(start: int, n: int, spacing: float) -> _Lattice:
    position = np.arange(start, start + n, dtype=np.float64) / spacing
    cell = np.floor(position)
    t = position - cell
    return _Lattice(cell.astype(np.int64), (t * t * (3.0 - 2.0 * t)).astype(np.float32))


@njit(nogil=True, cache=True)
def _white(seed: np.uint64, z0: int, y0: int, x0: int, out: Floats) -> None:
    nz, ny, nx = out.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                h = hash3(seed, z0 + z, y0 + y, x0 + x)
                a = np.int32(h & _MASK16) + np.int32((h >> _S16) & _MASK16)
                b = np.int32((h >> _S32) & _MASK16) + np.int32(h >> _S48)
                out[z, y, x] = np.float32(a + b - np.int32(131070)) * _GAUSS


@njit(nogil=True, cache=True)
def _blend(seed: np.uint64, along_z: _Lattice, along_y: _Lattice, along_x: _Lattice, out: Floats) -> None:
    nz, ny, nx = out.shape
    cz, cy, cx = along_z.cell, along_y.cell, along_x.cell
    first = cx[0]
    count = cx[nx - 1] - first + 2
    # lattice values of the cell rows at hand; recomputed only when z or y enters a new cell
    corner = np.empty((4, count), np.float32)
    line = np.empty(count, np.float32)
    for z in range(nz):
        for y in range(ny):
            if y == 0 or cy[y] != cy[y - 1]:
                for c in range(4):
                    for i in range(count):
                        h = hash3(seed, cz[z] + (c >> 1), cy[y] + (c & 1), first + i)
                        corner[c, i] = np.float32(2.0) * unit(h) - np.float32(1.0)
            a, b = along_z.weight[z], along_y.weight[y]
            for i in range(count):
                low = corner[0, i] + b * (corner[1, i] - corner[0, i])
                high = corner[2, i] + b * (corner[3, i] - corner[2, i])
                line[i] = low + a * (high - low)
            for x in range(nx):
                i = cx[x] - first
                out[z, y, x] = line[i] + along_x.weight[x] * (line[i + 1] - line[i])


def gaussian_kernel(sigma: float) -> npt.NDArray[np.float64]:
    """Return a normalised, truncated Gaussian (3.2 sigma); one tap when sigma is too small to matter."""
    radius = 0 if sigma < 0.15 else max(1, math.ceil(3.2 * sigma))
    t = np.arange(-radius, radius + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (t / max(sigma, 1e-6)) ** 2)
    return np.asarray(weights / weights.sum())


def convolve(volume: Floats, kernel: npt.NDArray[np.float64]) -> Floats:
    """Return a separable convolution, valid part only: each axis is len(kernel) - 1 voxels shorter.

    Sums run over the taps in a fixed order, so that a voxel's value does not depend on where the volume starts.
    """
    taps = kernel.astype(np.float32)
    return volume if len(taps) == 1 else np.asarray(_convolve(volume, taps))


@njit(nogil=True, cache=True)
def _convolve(volume: Floats, taps: Floats) -> Floats:
    n = len(taps)
    nz, ny, nx = volume.shape
    oz, oy, ox = nz - n + 1, ny - n + 1, nx - n + 1
    out = np.empty((oz, oy, ox), np.float32)
    plane = np.empty((ny, nx), np.float32)
    row = np.empty(nx, np.float32)
    for z in range(oz):
        for y in range(ny):
            for x in range(nx):
                plane[y, x] = taps[0] * volume[z, y, x]
            for t in range(1, n):
                for x in range(nx):
                    plane[y, x] += taps[t] * volume[z + t, y, x]
        for y in range(oy):
            for x in range(nx):
                row[x] = taps[0] * plane[y, x]
            for t in range(1, n):
                for x in range(nx):
                    row[x] += taps[t] * plane[y + t, x]
            for x in range(ox):
                out[z, y, x] = taps[0] * row[x]
            for t in range(1, n):
                for x in range(ox):
                    out[z, y, x] += taps[t] * row[x + t]
    return out
