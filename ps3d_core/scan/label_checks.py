"""Do the labels of an image look like particles? A mask, a border-core image or a numbered background does not.

All that is needed is how many voxels each label has, which is counted while the image streams by.
"""

from __future__ import annotations

from collections import Counter
from math import pi
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MOST_TIMES_LARGER: Final = 12.0
"""Mean particle found to particle expected, by volume: twice the diameter, and a wide distribution, stay below."""
MOST_TIMES_SMALLER: Final = 100.0
"""The same the other way round: among coarse particles may be much dust."""
_FILLS: Final = 0.5  # share of the volume that no particle takes
_GIANT, _LARGE_SHARE = 30.0, 1 / 3  # one that is so much larger than expected, and takes so much of all, is none
_TABLE: Final = 2**22  # labels below this are counted in a table, those above one by one


class LabelSizes:
    """Voxels of every label above 0, gathered slab by slab."""

    def __init__(self) -> None:
        self._table = np.zeros(0, np.int64)
        self._rare: Counter[int] = Counter()
        self._total = 0

    def add(self, slab: npt.NDArray[Any]) -> None:
        """Count the labels of integers (z, y, x), none below 0."""
        for values in slab:  # slice by slice: numpy counts in copies of 64 bits
            self._total += values.size
            low = values[values < _TABLE]
            if low.size < values.size:
                self._rare.update(dict(zip(*_listed(values[values >= _TABLE]), strict=True)))
            counts = np.bincount(low.ravel().astype(np.int64), minlength=len(self._table))
            counts[: len(self._table)] += self._table
            self._table = counts

    @property
    def highest(self) -> int:
        """The largest label; 0 when there is none."""
        present = np.flatnonzero(self._table)
        return max([int(present[-1]) if len(present) else 0, *self._rare])

    def problem(self, particle_voxels: float | None = None) -> str | None:
        """What contradicts that these labels are particles; None where nothing does.

        `particle_voxels` is the diameter that the mean particle is said to have, in voxels; unknown when None.
        """
        label, largest = self._largest()
        labels = int(np.count_nonzero(self._table[1:])) + len(self._rare)
        if not labels:
            return None
        labelled = int(self._table[1:].sum()) + sum(self._rare.values())
        if particle_voxels is None:
            if largest <= _FILLS * self._total:
                return None
            return f"label {label} fills {largest / self._total:.0%} of the volume: background, or a mask?"
        expected = pi / 6 * particle_voxels**3
        if largest > _GIANT * expected and largest > _LARGE_SHARE * labelled:
            return (
                f"label {label} fills {largest / self._total:.0%} of the volume, {largest / expected:.0f} times what "
                "the particle size says: background, or a mask?"
            )
        mean = labelled / labels
        if not 1 / MOST_TIMES_SMALLER <= mean / expected <= MOST_TIMES_LARGER:
            return (
                f"{labels} labels of {mean:.0f} voxels in the mean, where the particle size says {expected:.0f}: a "
                "mask, classes or grey values?"
            )
        return None

    def _largest(self) -> tuple[int, int]:
        found = [(label, count) for label, count in self._rare.most_common(1)]
        if len(self._table) > 1:
            label = 1 + int(np.argmax(self._table[1:]))
            found.append((label, int(self._table[label])))
        return max(found, key=lambda one: one[1], default=(0, 0))


def _listed(values: npt.NDArray[Any]) -> tuple[list[int], list[int]]:
    labels, counts = np.unique(values, return_counts=True)
    return labels.tolist(), counts.tolist()
