"""Sums of grey values that do not depend on the order of adding.

Floating-point addition rounds, so a sum over a particle would depend on how blocks cut the particle. Here a value
enters as float32, which is a whole number m < 2^24 times a power of two, and is added without rounding to a long
fixed-point number (Kulisch's accumulator) that spans the whole range of float32:

    value   = m * 2^s * 2^-149,      s = 0 ... 253      9 windows of 32 bits
    value^2 = m^2 * 2^2s * 2^-298                      18 windows of 32 bits

    window         8        7              2        1        0
               |........|........|  ...  |....mmmm|mm......|........|
                                           high     low              one value touches two windows, a square three

A window is kept in an int64 whose upper half collects carries: 2^30 values fit before it could overflow, and blocks
are smaller than that. `normalised` passes the carries on, so that equal sums have equal windows, `as_float` rounds
once at the end. 8- and 16-bit grey values are exact in float32; float64 and 32-bit values are rounded to its 24 bits
first, a relative error of 6e-8 per voxel.

A particle with a voxel that is not a number or infinite has no mean: its minimum and maximum become NaN, which
marks it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.particles.label_index import LabelIndex, Labels, row_of

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.float32]

TOTAL_WINDOWS = 9
SQUARE_WINDOWS = 18
MAX_VALUES = 2**30

_EXACT_BYTES = 2
"""Integers of so many bytes have exact sums in 64 bits, and so have their squares: a block has fewer than 2^30."""
_TOTAL_UNIT = -149
_SQUARE_UNIT = -298


class GreySums(NamedTuple):
    """Grey values of n labels, one row each."""

    low: Grey  # (n,) smallest value
    high: Grey  # (n,) largest value
    total: Integers  # (n, TOTAL_WINDOWS) sum of values
    squares: Integers  # (n, SQUARE_WINDOWS) sum of squared values


def add_grey(labels: Labels, image: npt.NDArray[Any], index: LabelIndex, sums: GreySums) -> None:
    """Add the grey values of a block (z, y, x), any real dtype, to the `sums` of the labels in `index`, in place."""
    if image.dtype.kind in "iu" and image.dtype.itemsize <= _EXACT_BYTES:
        total, squares = np.zeros((2, len(sums.low)), np.int64)
        _add_integers(labels, image, index, sums, total, squares)
        _add_shifted(sums.total, total, -_TOTAL_UNIT)
        _add_shifted(sums.squares, squares, -_SQUARE_UNIT)
    else:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which the kernel marks
            values = np.ascontiguousarray(image, np.float32)
        _add(labels, values, values.view(np.uint32), index, sums)
    sums.total[:] = normalised(sums.total)
    sums.squares[:] = normalised(sums.squares)


def total(windows: Integers) -> Floats:
    """Return the sums (n,) of values from their windows (n, TOTAL_WINDOWS), rounded to float64."""
    return as_float(windows, _TOTAL_UNIT)


def sum_of_squares(windows: Integers) -> Floats:
    """Return the sums (n,) of squared values from their windows (n, SQUARE_WINDOWS), rounded to float64."""
    return as_float(windows, _SQUARE_UNIT)


def normalised(windows: Integers) -> Integers:
    """Return equal sums with every window but the last in 0 ... 2^32 - 1: the one way to write a sum."""
    result = windows.copy()
    for k in range(result.shape[1] - 1):
        result[:, k + 1] += result[:, k] >> 32
        result[:, k] &= 0xFFFFFFFF
    return result


def as_float(windows: Integers, unit: int) -> Floats:
    """Return the values (n,) of windows (n, k), whose lowest bit is worth 2^unit, as float64."""
    value = np.zeros(len(windows), np.float64)
    # From the top down: leading windows of a small negative sum cancel without rounding.
    for k, column in reversed(list(enumerate(normalised(windows).T))):
        value += np.ldexp(column.astype(np.float64), 32 * k + unit)
    return value


def _add_shifted(windows: Integers, sums: Integers, bits: int) -> None:
    """Add `sums` (n,), shifted to the left by `bits`, to `windows`, in place."""
    window, shift = divmod(bits, 32)
    low = (sums & 0xFFFFFFFF) << shift
    windows[:, window] += low & 0xFFFFFFFF
    windows[:, window + 1] += (low >> 32) + (sums >> 32 << shift)


@njit(nogil=True, cache=True)
def _add_integers(
    labels: Labels, image: npt.NDArray[Any], index: LabelIndex, sums: GreySums, total: Integers, squares: Integers
) -> None:
    """Add whole numbers, run by run of equal labels: they need no windows within a block."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            x = 0
            while x < nx:
                label, start = labels[z, y, x], x
                while x < nx and labels[z, y, x] == label:
                    x += 1
                if label == 0:
                    continue
                added = squared = np.int64(0)
                low = high = np.int64(image[z, y, start])
                for i in range(start, x):
                    value = np.int64(image[z, y, i])
                    added += value
                    squared += value * value
                    low, high = min(low, value), max(high, value)
                row = row_of(label, index)
                total[row] += added
                squares[row] += squared
                sums.low[row] = min(sums.low[row], np.float32(low))
                sums.high[row] = max(sums.high[row], np.float32(high))


@njit(nogil=True, cache=True)
def _add(labels: Labels, values: Grey, bits: npt.NDArray[np.uint32], index: LabelIndex, sums: GreySums) -> None:
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            before = np.uint32(0)
            row = 0
            for x in range(nx):
                label = labels[z, y, x]
                if label == 0:
                    continue
                if label != before:
                    row = row_of(label, index)
                    before = label
                pattern = np.int64(bits[z, y, x])
                exponent = pattern >> 23 & 0xFF
                if exponent == 0xFF:
                    sums.low[row] = np.nan
                    sums.high[row] = np.nan
                    continue
                value = values[z, y, x]
                # NaN, once there, stays: no comparison with it is true.
                if value < sums.low[row]:  # noqa: PLR1730
                    sums.low[row] = value
                if value > sums.high[row]:  # noqa: PLR1730
                    sums.high[row] = value
                _add_one(pattern, exponent, row, sums)


@njit(nogil=True, cache=True, inline="always")
def _add_one(pattern: np.int64, exponent: np.int64, row: int, sums: GreySums) -> None:
    """Add one value and its square to the windows that their bits lie in."""
    mask = np.int64(0xFFFFFFFF)
    m = pattern & 0x7FFFFF
    shift = np.int64(0)
    if exponent > 0:
        m |= 0x800000
        shift = exponent - 1

    k = shift >> 5
    part = m << (shift & 31)
    if pattern >> 31 & 1:
        sums.total[row, k] -= part & mask
        sums.total[row, k + 1] -= part >> 32
    else:
        sums.total[row, k] += part & mask
        sums.total[row, k + 1] += part >> 32

    k = 2 * shift >> 5
    square = m * m
    part = (square & mask) << (2 * shift & 31)
    sums.squares[row, k] += part & mask
    carried = part >> 32
    part = (square >> 32) << (2 * shift & 31)
    sums.squares[row, k + 1] += carried + (part & mask)
    sums.squares[row, k + 2] += part >> 32
