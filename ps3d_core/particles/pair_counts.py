"""Which labels of a block lie beside which others, and how much of their surfaces they share.

A crossing is a pair of neighbouring voxels, in one of 13 directions, that carry two different labels, both above 0.
Crossings are what surfaces are measured by (see `surface`), so what two particles share is measured as what each has:
half a crossing is one intercept of either.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.surface import CUBES, OTHERS

Pairs = npt.NDArray[np.uint64]
Crossings = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
Kinds = npt.NDArray[np.int64]

_DIRECTIONS = 13
_KINDS: Final = {
    CUBES: np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]),
    OTHERS: np.array([2, 1, 0, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6]),
}
"""Kinds of the directions in the order in which neighbours are looked at, by their number."""


class PairCounts(NamedTuple):
    """Pairs of labels in rising order, and how often each is crossed.

    pairs: (n,) uint64, the lower label in the upper 32 bits, the higher one in the lower.
    crossings: (n, kinds) int64, by kind of direction, see `surface`.
    """

    pairs: Pairs
    crossings: Crossings

    @property
    def lower(self) -> Labels:
        """Lower label of every pair."""
        return (self.pairs >> np.uint64(32)).astype(np.uint32)

    @property
    def higher(self) -> Labels:
        """Higher label of every pair."""
        return (self.pairs & np.uint64(2**32 - 1)).astype(np.uint32)

    def rows(self, chosen: npt.NDArray[np.bool_] | slice) -> PairCounts:
        """Return some rows: those of a slice, or where `chosen` (n,) is true."""
        return PairCounts(self.pairs[chosen], self.crossings[chosen])

    def followed_by(self, others: PairCounts) -> PairCounts:
        """Return these rows and those of `others`, whose pairs are all higher."""
        return PairCounts(
            np.concatenate((self.pairs, others.pairs)), np.concatenate((self.crossings, others.crossings))
        )


def no_pairs(kinds: int = CUBES) -> PairCounts:
    """Return counts without any pair, for so many kinds of directions."""
    return PairCounts(np.empty(0, np.uint64), np.empty((0, kinds), np.int64))


def count_pairs_of(padded: Labels, kinds: int = CUBES) -> PairCounts:
    """Count the crossings from the voxels of a block to those that follow them.

    `padded` (z + 2, y + 2, x + 2) uint32 holds the block's labels and one voxel more on every side, which belongs to
    other blocks or is 0 outside the scan. A crossing belongs to the block of its first voxel, so blocks share none.
    `kinds` is the number of kinds of directions that are told apart.
    """
    _, height, width = (side - 2 for side in padded.shape)
    rows = (padded.shape[0] - 2) * height
    places = 1 << int(4 * _DIRECTIONS * width).bit_length()
    pairs, crossings = np.zeros(places, np.uint64), np.zeros((places, kinds), np.int64)
    row = used = 0
    while row < rows:
        row, used = _count(padded, row, used, _KINDS[kinds], pairs, crossings)
        if row < rows:
            pairs, crossings = _grown(pairs, crossings)
    found = np.flatnonzero(pairs)
    found = found[np.argsort(pairs[found])]
    return PairCounts(pairs[found], crossings[found])


def merge_pairs(first: PairCounts, second: PairCounts) -> PairCounts:
    """Add the counts of two parts of a volume."""
    pairs, rows = np.unique(np.concatenate((first.pairs, second.pairs)), return_inverse=True)
    crossings = np.zeros((len(pairs), first.crossings.shape[1]), np.int64)
    np.add.at(crossings, rows, np.concatenate((first.crossings, second.crossings)))
    return PairCounts(pairs, crossings)


def _grown(pairs: Pairs, crossings: Crossings) -> tuple[Pairs, Crossings]:
    """Return a table of twice as many places with the same entries."""
    wide, counts = np.zeros(2 * len(pairs), np.uint64), np.zeros((2 * len(pairs), crossings.shape[1]), np.int64)
    _move(pairs, crossings, wide, counts)
    return wide, counts


@njit(nogil=True, cache=True)
def _count(padded: Labels, first: int, used: int, kinds: Kinds, pairs: Pairs, crossings: Crossings) -> tuple[int, int]:
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
            label = here[x]
            used += _cross(label, here[x + 1], kinds[0], pairs, crossings)
            used += _cross(label, behind[x], kinds[1], pairs, crossings)
            used += _cross(label, above[x], kinds[2], pairs, crossings)
            used += _cross(label, behind[x - 1], kinds[3], pairs, crossings)
            used += _cross(label, behind[x + 1], kinds[4], pairs, crossings)
            used += _cross(label, above[x - 1], kinds[5], pairs, crossings)
            used += _cross(label, above[x + 1], kinds[6], pairs, crossings)
            used += _cross(label, before_above[x], kinds[7], pairs, crossings)
            used += _cross(label, behind_above[x], kinds[8], pairs, crossings)
            used += _cross(label, before_above[x - 1], kinds[9], pairs, crossings)
            used += _cross(label, before_above[x + 1], kinds[10], pairs, crossings)
            used += _cross(label, behind_above[x - 1], kinds[11], pairs, crossings)
            used += _cross(label, behind_above[x + 1], kinds[12], pairs, crossings)
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
def _cross(label: np.uint32, other: np.uint32, kind: int, pairs: Pairs, crossings: Crossings) -> int:
    """Count one neighbour; return 1 when its pair is new in the table."""
    if other == 0 or other == label:  # noqa: PLR1714 - numba knows no tuples of two types
        return 0
    low, high = min(label, other), max(label, other)
    pair = np.uint64(low) << np.uint64(32) | np.uint64(high)
    place = _place(pair, pairs)
    new = pairs[place] == 0
    pairs[place] = pair
    crossings[place, kind] += 1
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
def _move(pairs: Pairs, crossings: Crossings, into: Pairs, counts: Crossings) -> None:
    for i in range(pairs.size):
        if pairs[i]:
            place = _place(pairs[i], into)
            into[place] = pairs[i]
            counts[place] = crossings[i]
