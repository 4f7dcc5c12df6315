"""Grey values of the interiors of particles, counted exactly: what phases are found from.

A voxel is interior where the 125 voxels around it carry its label, so that nothing from outside has a part in it. Its
grey value, a mean over 27 voxels with binomial weights, is counted together with how fast it changes there: faces
between phases are told from the phases by that. Bins are the leading bits of single precision numbers, which are equal
for any block, and fine for any type of image: grey values are kept to one part in 4096, slopes to one in 8.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.classify import binomial
from ps3d_core.particles.label_index import Labels

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

REACH: Final = 2
_GREY_BITS: Final = 12
_SLOPE_BITS: Final = 21
_SIGN: Final = np.uint32(2**31)


class Counted(NamedTuple):
    """Numbers of voxels by bins, in rising order of the bins.

    pairs: uint64, bin of the grey value in the upper 32 bits, of its slope in the lower; with `pair_counts`.
    differences: bins of how far interior voxels are from the mean of their six neighbours; with `difference_counts`.
    backgrounds: bins of the grey value of background next to particles; with `background_counts`.
    """

    pairs: Keys
    pair_counts: Counts
    differences: Keys
    difference_counts: Counts
    backgrounds: Keys
    background_counts: Counts


def counted(labels: Labels, grey: Floats, low: tuple[int, int, int], high: tuple[int, int, int]) -> Counted:
    """Return the counts of the voxels from `low` up to `high` (not included) of arrays (z, y, x).

    What lies around them in the arrays, at best `REACH` voxels, is looked at; voxels that have less around them are
    none of the interiors, nor are those beside grey values that are not finite.
    """
    smooth = binomial(grey) / np.float32(64)  # of one label alone wherever it is looked at
    interior, slope, off, beside = _interiors(labels, grey, smooth, np.array(low), np.array(high))
    pairs = _bins(interior, _GREY_BITS) << np.uint64(32) | _bins(slope, _SLOPE_BITS)
    found = (np.unique(each, return_counts=True) for each in (pairs, _bins(off, _GREY_BITS), _bins(beside, _GREY_BITS)))
    return Counted(*(np.asarray(each) for pair in found for each in pair))


def added(one: Counted, other: Counted) -> Counted:
    """Return the counts of both together."""
    parts: list[npt.NDArray[np.generic]] = []
    for k in range(0, len(one), 2):
        keys, place = np.unique(np.concatenate([one[k], other[k]]), return_inverse=True)
        counts = np.zeros(len(keys), np.int64)
        np.add.at(counts, place, np.concatenate([one[k + 1], other[k + 1]]))
        parts += [keys, counts]
    return Counted(*parts)  # type: ignore[arg-type]


def grey_of(bins: Keys) -> npt.NDArray[np.float64]:
    """Return the middles of bins of grey values, also of differences."""
    return _middles(bins, _GREY_BITS)


def slope_of(bins: Keys) -> npt.NDArray[np.float64]:
    """Return the middles of bins of slopes."""
    return _middles(bins, _SLOPE_BITS)


def _bins(values: Floats, bits: int) -> Keys:
    """Leading bits of single precision numbers, in the order of the numbers."""
    raw = (values + np.float32(0)).view(np.uint32)  # of two zeros one
    ordered = np.where(raw & _SIGN, ~raw, raw | _SIGN)
    return np.asarray(ordered >> np.uint32(bits), np.uint64)


def _middles(bins: Keys, bits: int) -> npt.NDArray[np.float64]:
    ordered = (bins.astype(np.uint32) << np.uint32(bits)) | np.uint32(1 << (bits - 1))
    raw = np.where(ordered & _SIGN, ordered & ~_SIGN, ~ordered)
    return raw.astype(np.uint32).view(np.float32).astype(np.float64)


@njit(nogil=True, cache=True)
def _interiors(
    labels: Labels, grey: Floats, smooth: Floats, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Smoothed grey value, slope and difference to neighbours of interior voxels; grey value of background beside."""
    nz, ny, nx = labels.shape
    inner, background = 0, 0
    out = np.empty((3, (high - low).prod()), np.float32)
    beside = np.empty((high - low).prod(), np.float32)
    for z in range(max(low[0], REACH), min(high[0], nz - REACH)):
        for y in range(max(low[1], REACH), min(high[1], ny - REACH)):
            for x in range(max(low[2], REACH), min(high[2], nx - REACH)):
                own = labels[z, y, x]
                same, free = _around(labels, z, y, x)
                if own == 0:
                    if free and not same and np.isfinite(grey[z, y, x]):
                        beside[background] = grey[z, y, x]
                        background += 1
                    continue
                if not same:
                    continue
                gz = smooth[z + 1, y, x] - smooth[z - 1, y, x]
                gy = smooth[z, y + 1, x] - smooth[z, y - 1, x]
                gx = smooth[z, y, x + 1] - smooth[z, y, x - 1]
                around = grey[z - 1, y, x] + grey[z + 1, y, x] + grey[z, y - 1, x] + grey[z, y + 1, x]
                around += grey[z, y, x - 1] + grey[z, y, x + 1]
                out[0, inner] = smooth[z, y, x]
                out[1, inner] = np.float32(0.5) * np.sqrt(gz * gz + gy * gy + gx * gx)
                out[2, inner] = abs(grey[z, y, x] - around / np.float32(6))
                inner += int(np.isfinite(out[:, inner]).all())
    return out[0, :inner].copy(), out[1, :inner].copy(), out[2, :inner].copy(), beside[:background].copy()


@njit(nogil=True, cache=True)
def _around(labels: Labels, z: int, y: int, x: int) -> tuple[bool, bool]:
    """Whether the 125 voxels around a voxel carry its label, and whether the 27 do."""
    own, near = labels[z, y, x], True
    for reach in range(1, REACH + 1):
        for a in range(z - reach, z + reach + 1):
            for b in range(y - reach, y + reach + 1):
                for c in range(x - reach, x + reach + 1):
                    if labels[a, b, c] != own:
                        return False, near and reach > 1
    return True, near
