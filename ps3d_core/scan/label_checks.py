"""Do the labels of an image look like particles? A mask, a border-core image or a numbered background does not.

All that is needed is how many voxels each label has and between which of them it lies, which is gathered while the
image streams by.
"""

from __future__ import annotations

from collections import Counter
from math import pi
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

MOST_TIMES_LARGER: Final = 12.0
"""Mean particle found to particle expected, by volume: twice the diameter, and a wide distribution, stay below."""
MOST_TIMES_SMALLER: Final = 100.0
"""The same the other way round: among coarse particles may be much dust."""
FILLS: Final = 0.5
"""Share of a volume that one of several particles does not take."""
_STREWN: Final = 30  # a label fills less of its bounding box than one in so many; thin flakes across it fill more
_MANY: Final = 100
_FEW_VOXELS: Final = 2.0  # voxels per label that are not exceeded where nearly each voxel has a value of its own
_GIANT, _LARGE_SHARE = 30.0, 1 / 3  # one that is so much larger than expected, and takes so much of all, is none
_TABLE: Final = 2**22  # labels below this are counted in a table, those above one by one


def filling(label: int, share: float) -> str:
    """Return what is wrong with a label that takes so large a `share` (0 to 1) of the volume."""
    return f"label {label} fills {share:.0%} of the volume: background, which has to be 0, or a mask?"


class Strewn:
    """Check of whether labels are strewn over the volume, like grey values.

    Of every label, voxels and those of its box are added.
    """

    def __init__(self) -> None:
        self.labels = 0
        self._voxels = self._strewn = 0

    def add(self, voxels: npt.NDArray[np.int64], boxes: npt.NDArray[Any]) -> None:
        """Add n labels: how many voxels each has, and how many its bounding box."""
        self.labels += len(voxels)
        self._voxels += int(voxels.sum())
        self._strewn += int(voxels[boxes > _STREWN * voxels].sum())

    def problem(self) -> str | None:
        """Return what contradicts that all labels added are particles; None where nothing does."""
        few = self.labels > _MANY and self._voxels < _FEW_VOXELS * self.labels
        if not few and 2 * self._strewn <= self._voxels:
            return None
        return (
            f"{self.labels} labels of {self._voxels / self.labels:.1f} voxels each, strewn over the volume: grey "
            "values, not particles"
        )


class LabelSizes:
    """Voxels of every label above 0 and the box they lie in, gathered slab by slab."""

    def __init__(self) -> None:
        self._table = np.zeros(0, np.int64)
        self._boxes = _Boxes()
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
            self._boxes.add(np.where(values < _TABLE, values, 0).astype(np.int64))

    @property
    def highest(self) -> int:
        """The largest label; 0 when there is none."""
        present = np.flatnonzero(self._table)
        return max([int(present[-1]) if len(present) else 0, *self._rare])

    def problem(self, particle_voxels: float | None = None) -> str | None:
        """Return what contradicts that the labels counted are particles; None where nothing does.

        `particle_voxels` is the diameter that the mean particle is said to have, in voxels; unknown when None.
        """
        label, largest = self._largest()
        labels = int(np.count_nonzero(self._table[1:])) + len(self._rare)
        if not labels:
            return None
        labelled = int(self._table[1:].sum()) + sum(self._rare.values())
        strewn, present = Strewn(), 1 + np.flatnonzero(self._table[1:])
        strewn.add(self._table[present], self._boxes.voxels(present))
        if (grey := strewn.problem()) is not None:
            return grey
        if particle_voxels is None:
            return filling(label, largest / self._total) if largest > FILLS * self._total else None
        expected = pi / 6 * particle_voxels**3
        if largest > _GIANT * expected and largest > _LARGE_SHARE * labelled:
            return (
                f"label {label} fills {largest / self._total:.0%} of the volume, {largest / expected:.0f} times what "
                "the particle size says: background, or a mask?"
            )
        return _of_another_size(labels, labelled / labels, expected)

    def _largest(self) -> tuple[int, int]:
        found = [(label, count) for label, count in self._rare.most_common(1)]
        if len(self._table) > 1:
            label = 1 + int(np.argmax(self._table[1:]))
            found.append((label, int(self._table[label])))
        return max(found, key=lambda one: one[1], default=(0, 0))


def _of_another_size(labels: int, mean: float, expected: float) -> str | None:
    if 1 / MOST_TIMES_SMALLER <= mean / expected <= MOST_TIMES_LARGER:
        return None
    return (
        f"{labels} labels of {mean:.0f} voxels in the mean, where the particle size says {expected:.0f}: a mask, "
        "classes or grey values?"
    )


class _Boxes:
    """Bounding boxes of labels that are counted in a table, of slices that come one by one."""

    def __init__(self) -> None:
        self._low = np.empty((0, 3), np.int32)
        self._high = np.empty((0, 3), np.int32)
        self._z = 0

    def add(self, labels: npt.NDArray[np.int64]) -> None:
        """Widen the boxes by the next slice (y, x)."""
        known, highest = len(self._low), int(labels.max())
        if highest >= known:
            more = ((0, max(highest + 1 - known, known)), (0, 0))
            self._low = np.pad(self._low, more, constant_values=np.iinfo(np.int32).max)
            self._high = np.pad(self._high, more, constant_values=-1)
        _widen(labels, self._z, self._low, self._high)
        self._z += 1

    def voxels(self, labels: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return how many voxels the bounding box of each of the `labels` has."""
        sides = (self._high[labels] - self._low[labels] + 1).astype(np.float64)
        return sides[:, 0] * sides[:, 1] * sides[:, 2]


@njit(nogil=True, cache=True)
def _widen(labels: npt.NDArray[np.int64], z: int, low: npt.NDArray[np.int32], high: npt.NDArray[np.int32]) -> None:
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label:
                low[label, 0] = min(low[label, 0], z)
                low[label, 1] = min(low[label, 1], y)
                low[label, 2] = min(low[label, 2], x)
                high[label, 0] = z
                high[label, 1] = max(high[label, 1], y)
                high[label, 2] = max(high[label, 2], x)


def _listed(values: npt.NDArray[Any]) -> tuple[list[int], list[int]]:
    labels, counts = np.unique(values, return_counts=True)
    return labels.tolist(), counts.tolist()
