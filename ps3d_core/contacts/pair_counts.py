"""Which labels of a block lie beside which others, how much of their surfaces they share, where, and facing where.

A crossing is a pair of neighbouring voxels, in one of 13 directions, that carry two different labels, both above 0.
Crossings are what surfaces are measured by (see `particles.surface`), so what two particles share is measured as what
each has: half a crossing is one intercept of either.

Of every pair of labels three things are added up over its crossings, all in whole numbers, so that blocks add up
without rounding: how many there are by kind of direction; the steps from the lower label to the higher one, whose sum
points along the normal of the contact; and the places half-way between the two voxels, whose mean is its centre.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.surface import CUBES, OTHERS

Pairs = npt.NDArray[np.uint64]
Sums = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
Kinds = npt.NDArray[np.int64]

_DIRECTIONS = 13
_PLACED: Final = 6
"""Columns of sums after the crossings: steps (z, y, x) and twice the places (z, y, x)."""
_KINDS: Final = {
    CUBES: np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]),
    OTHERS: np.array([2, 1, 0, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6]),
}
"""Kinds of the directions in the order in which neighbours are looked at, by their number."""


class PairCounts(NamedTuple):
    """Pairs of labels in rising order, and what their crossings add up to.

    pairs: (n,) uint64, the lower label in the upper 32 bits, the higher one in the lower.
    sums: (n, kinds + 6) int64, see `crossings`, `steps` and `places`.
    """

    pairs: Pairs
    sums: Sums

    @property
    def lower(self) -> Labels:
        """Lower label of every pair."""
        return (self.pairs >> np.uint64(32)).astype(np.uint32)

    @property
    def higher(self) -> Labels:
        """Higher label of every pair."""
        return (self.pairs & np.uint64(2**32 - 1)).astype(np.uint32)

    @property
    def crossings(self) -> Sums:
        """How often each is crossed, (n, kinds), by kind of direction, see `particles.surface`."""
        return self.sums[:, :-_PLACED]

    @property
    def steps(self) -> Sums:
        """Sum of the steps (z, y, x) of all crossings, from the lower label to the higher, voxels, (n, 3)."""
        return self.sums[:, -_PLACED:-3]

    @property
    def places(self) -> Sums:
        """Twice the sum of the places (z, y, x) half-way along all crossings, voxels of the scan, (n, 3)."""
        return self.sums[:, -3:]

    def rows(self, chosen: npt.NDArray[np.bool_] | slice) -> PairCounts:
        """Return some rows: those of a slice, or where `chosen` (n,) is true."""
        return PairCounts(self.pairs[chosen], self.sums[chosen])

    def followed_by(self, others: PairCounts) -> PairCounts:
        """Return these rows and those of `others`, whose pairs are all higher."""
        return PairCounts(np.concatenate((self.pairs, others.pairs)), np.concatenate((self.sums, others.sums)))


def no_pairs(kinds: int = CUBES) -> PairCounts:
    """Return counts without any pair, for so many kinds of directions."""
    return PairCounts(np.empty(0, np.uint64), np.empty((0, kinds + _PLACED), np.int64))


def count_pairs_of(padded: Labels, kinds: int = CUBES, start: Shape = (0, 0, 0)) -> PairCounts:
    """Count the crossings from the voxels of a block to those that follow them.

    `padded` (z + 2, y + 2, x + 2) uint32 holds the block's labels and one voxel more on every side, which belongs to
    other blocks or is 0 outside the scan. A crossing belongs to the block of its first voxel, so blocks share none.
    `kinds` is the number of kinds of directions that are told apart, `start` the block's first voxel in the scan.
    """
    _, height, width = (side - 2 for side in padded.shape)
    rows = (padded.shape[0] - 2) * height
    room = 1 << int(4 * _DIRECTIONS * width).bit_length()
    pairs, sums = np.zeros(room, np.uint64), np.zeros((room, kinds + _PLACED), np.int64)
    row = used = 0
    while row < rows:
        row, used = _count(padded, row, used, _KINDS[kinds], pairs, sums)
        if row < rows:
            pairs, sums = _grown(pairs, sums)
    found = np.flatnonzero(pairs)
    found = found[np.argsort(pairs[found])]
    counts = PairCounts(pairs[found], sums[found])
    counts.places[...] += 2 * np.array(start) * counts.crossings.sum(axis=1, keepdims=True)
    return counts


def merge_pairs(parts: Iterable[PairCounts]) -> PairCounts:
    """Add the counts of parts of a volume, of which there is at least one."""
    every = list(parts)
    pairs = np.concatenate([part.pairs for part in every])
    if not len(pairs):
        return every[0]
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    starts = np.flatnonzero(np.concatenate(([True], pairs[1:] != pairs[:-1])))
    sums = np.concatenate([part.sums for part in every])[order]
    return PairCounts(pairs[starts], np.add.reduceat(sums, starts, axis=0))


def _grown(pairs: Pairs, sums: Sums) -> tuple[Pairs, Sums]:
    """Return a table of twice as many places with the same entries."""
    wide, counts = np.zeros(2 * len(pairs), np.uint64), np.zeros((2 * len(pairs), sums.shape[1]), np.int64)
    _move(pairs, sums, wide, counts)
    return wide, counts


@njit(nogil=True, cache=True)
def _count(padded: Labels, first: int, used: int, kinds: Kinds, pairs: Pairs, sums: Sums) -> tuple[int, int]:
    """Count row by row from row `first`, until the table is too full for another; return the next row and its fill."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    rows = (padded.shape[0] - 2) * height
    row = first
    beside = np.zeros(width + 2, np.uint8)
    while row < rows and 4 * (used + 13 * width) <= 3 * pairs.size:
        z, y = row // height + 1, row % height + 1
        here, behind = padded[z, y], padded[z, y + 1]
        before_above, above, behind_above = padded[z + 1, y - 1], padded[z + 1, y], padded[z + 1, y + 1]
        _look_beside(here, behind, before_above, above, behind_above, beside)
        for x in range(1, width + 1):
            if not beside[x]:
                continue
            label, at = here[x], (2 * (z - 1), 2 * (y - 1), 2 * (x - 1))
            used += _cross(label, here[x + 1], kinds[0], (0, 0, 1), at, pairs, sums)
            used += _cross(label, behind[x], kinds[1], (0, 1, 0), at, pairs, sums)
            used += _cross(label, above[x], kinds[2], (1, 0, 0), at, pairs, sums)
            used += _cross(label, behind[x - 1], kinds[3], (0, 1, -1), at, pairs, sums)
            used += _cross(label, behind[x + 1], kinds[4], (0, 1, 1), at, pairs, sums)
            used += _cross(label, above[x - 1], kinds[5], (1, 0, -1), at, pairs, sums)
            used += _cross(label, above[x + 1], kinds[6], (1, 0, 1), at, pairs, sums)
            used += _cross(label, before_above[x], kinds[7], (1, -1, 0), at, pairs, sums)
            used += _cross(label, behind_above[x], kinds[8], (1, 1, 0), at, pairs, sums)
            used += _cross(label, before_above[x - 1], kinds[9], (1, -1, -1), at, pairs, sums)
            used += _cross(label, before_above[x + 1], kinds[10], (1, -1, 1), at, pairs, sums)
            used += _cross(label, behind_above[x - 1], kinds[11], (1, 1, -1), at, pairs, sums)
            used += _cross(label, behind_above[x + 1], kinds[12], (1, 1, 1), at, pairs, sums)
        row += 1
    return row, used


@njit(nogil=True, cache=True)
def _look_beside(
    here: Labels, behind: Labels, before_above: Labels, above: Labels, behind_above: Labels, beside: Flags
) -> None:
    """Say for every voxel of a row whether a particle and another one after it touch; without branches."""
    for x in range(1, here.size - 1):
        c = here[x]
        found = _other(c, here[x + 1])
        for step in range(3):
            found |= _other(c, behind[x + step - 1]) | _other(c, above[x + step - 1])
            found |= _other(c, before_above[x + step - 1]) | _other(c, behind_above[x + step - 1])
        beside[x] = found


@njit(nogil=True, cache=True, inline="always")
def _other(label: np.uint32, other: np.uint32) -> np.uint8:
    return np.uint8((label != 0) & (other != 0) & (label != other))


@njit(nogil=True, cache=True)
def _cross(label: np.uint32, other: np.uint32, kind: int, step: Shape, at: Shape, pairs: Pairs, sums: Sums) -> int:
    """Count a neighbour, a step away from half of `at`; return 1 when its pair is new in the table.

    Steps are constants, each compiled by itself: that takes two seconds once, and spares half of the time ever after.
    """
    if other == 0 or other == label:  # noqa: PLR1714 - numba knows no tuples of two types
        return 0
    low, high = min(label, other), max(label, other)
    pair = np.uint64(low) << np.uint64(32) | np.uint64(high)
    place = _place(pair, pairs)
    new = pairs[place] == 0
    pairs[place] = pair
    own = sums[place]
    own[kind] += 1
    placed, sign = own.size - 6, 1 if label == low else -1
    for axis in range(3):
        own[placed + axis] += sign * step[axis]
        own[placed + 3 + axis] += at[axis] + step[axis]
    return 1 if new else 0


@njit(nogil=True, cache=True)
def _place(pair: np.uint64, pairs: Pairs) -> int:
    """Where a pair is in the table, or where it would go: open addressing with linear probing."""
    last = pairs.size - 1
    # Multiplication by an odd constant near 2^64 / golden ratio spreads pairs of consecutive labels over the table.
    place = np.int64(pair * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) & last
    while pairs[place] != 0 and pairs[place] != pair:
        place = (place + 1) & last
    return int(place)


@njit(nogil=True, cache=True)
def _move(pairs: Pairs, sums: Sums, into: Pairs, counts: Sums) -> None:
    for i in range(pairs.size):
        if pairs[i]:
            place = _place(pairs[i], into)
            into[place] = pairs[i]
            counts[place] = sums[i]
