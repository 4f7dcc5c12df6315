"""What is added up per label, and how the sums of blocks become the sums of particles.

Everything is a whole number, a minimum or a maximum, about one origin for the whole scan (voxel 0, 0, 0). Such sums
can be added in any order and any grouping with the same result to the last bit, so a table does not depend on how
the scan was cut into blocks.

Second moments about a far origin can exceed 63 bits when blocks are added up. That is harmless: integers wrap around
modulo 2^64, and the moments about the particle's own centre, the only ones anybody uses, fit and come out exact
after the shift, because a difference modulo 2^64 of numbers that wrapped is the true difference modulo 2^64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.particles.exact_sums import SQUARE_WINDOWS, TOTAL_WINDOWS, normalised
from ps3d_core.particles.surface import CUBES

Integers = npt.NDArray[np.int64]

SECOND_MOMENTS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Pairs of axes (0 is z) in the order of `LabelSums.second`."""

_ADDED = ("voxels", "first", "second", "intercepts", "grey_total", "grey_squares")
_SMALLEST = ("low", "grey_low")
_LARGEST = ("high", "grey_high")
_WINDOWS = {"grey_total": TOTAL_WINDOWS, "grey_squares": SQUARE_WINDOWS}
_USED = {name: f"{name}_used" for name in _WINDOWS}
BESIDE: Final = tuple(_USED.values())
"""Arrays of `LabelSums.to_arrays` that have no row per label."""


class LabelSums(NamedTuple):
    """Sums of n labels, one row each, sorted by label. Coordinates are voxel indices in the scan.

    A named tuple, because kernels take it as it is.
    """

    labels: npt.NDArray[np.uint32]  # (n,)
    voxels: Integers  # (n,)
    low: npt.NDArray[np.int32]  # (n, 3) smallest z, y, x
    high: npt.NDArray[np.int32]  # (n, 3) largest z, y, x
    first: Integers  # (n, 3) sums of z, y, x
    second: Integers  # (n, 6) sums of products, see SECOND_MOMENTS; modulo 2^64
    intercepts: Integers  # (n, kinds) intercepts by kind of direction, see surface.py
    grey_low: npt.NDArray[np.float32]  # (n,) smallest grey value
    grey_high: npt.NDArray[np.float32]  # (n,) largest grey value
    grey_total: Integers  # (n, TOTAL_WINDOWS) sum of grey values, see exact_sums.py
    grey_squares: Integers  # (n, SQUARE_WINDOWS) sum of their squares

    @classmethod
    def empty(cls, labels: npt.NDArray[np.uint32], kinds: int = CUBES) -> LabelSums:
        """Return sums of no voxel for sorted `labels`, with `kinds` of directions; kernels add to the arrays."""
        n = len(labels)
        return cls(
            labels=labels,
            voxels=np.zeros(n, np.int64),
            low=np.full((n, 3), np.iinfo(np.int32).max, np.int32),
            high=np.full((n, 3), -1, np.int32),
            first=np.zeros((n, 3), np.int64),
            second=np.zeros((n, len(SECOND_MOMENTS)), np.int64),
            intercepts=np.zeros((n, kinds), np.int64),
            grey_low=np.full(n, np.inf, np.float32),
            grey_high=np.full(n, -np.inf, np.float32),
            grey_total=np.zeros((n, TOTAL_WINDOWS), np.int64),
            grey_squares=np.zeros((n, SQUARE_WINDOWS), np.int64),
        )

    def between(self, start: int, stop: int) -> LabelSums:
        """Return the rows of labels start <= label < stop, copied: they do not keep the others in memory."""
        rows = slice(*np.searchsorted(self.labels, np.array([start, stop], np.int64)))
        return LabelSums(**{name: column[rows].copy() for name, column in self._asdict().items()})

    def normalised(self) -> LabelSums:
        """Return equal sums whose windows are written in the one way there is for each sum."""
        return self._replace(grey_total=normalised(self.grey_total), grey_squares=normalised(self.grey_squares))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return named arrays for a file; windows that are zero for all labels (most of them) are left out."""
        arrays = self._asdict()
        for name in _WINDOWS:
            used = np.flatnonzero(arrays[name].any(axis=0))
            arrays[name], arrays[_USED[name]] = arrays[name][:, used], used
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> LabelSums:
        """Return the sums that `to_arrays` made these arrays of."""
        return cls.with_windows(arrays, {used: np.arange(_WINDOWS[name]) for name, used in _USED.items()})

    @classmethod
    def with_windows(cls, arrays: Mapping[str, npt.NDArray[Any]], wanted: Mapping[str, Integers]) -> LabelSums:
        """Return the sums that `to_arrays` made these arrays of, with the `wanted` windows alone, by names in `BESIDE`.

        All that the arrays have must be among them; others are zero.
        """
        columns = {name: array for name, array in arrays.items() if name not in BESIDE}
        for name, used in _USED.items():
            columns[name] = np.zeros((len(arrays["labels"]), len(wanted[used])), np.int64)
            columns[name][:, np.isin(wanted[used], arrays[used])] = arrays[name]
        return cls(**columns)


def merge(parts: Iterable[LabelSums]) -> LabelSums:
    """Return the sums over everything the `parts` are sums of; `normalised`, the result is the same in any order.

    The `parts` may have only some of the windows, all of them the same ones.
    """
    given = list(parts)
    parts = [part for part in given if len(part.labels)]
    if not parts:
        return given[0] if given else LabelSums.empty(np.empty(0, np.uint32))
    if len(parts) == 1:
        return parts[0]
    labels = np.concatenate([part.labels for part in parts])
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(labels[order]) > 0]))
    # Most particles lie in one part: of the others alone there is something to add up.
    counts = np.diff(starts, append=len(order))
    several = counts > 1
    shared, ends = order[np.repeat(several, counts)], np.cumsum(counts[several])

    def reduce(name: str, how: np.ufunc) -> npt.NDArray[Any]:
        column = np.concatenate([getattr(part, name) for part in parts])
        result = column[order[starts]]
        if len(ends):
            result[several] = how.reduceat(column[shared], ends - counts[several], axis=0)
        return np.asarray(result)

    merged: dict[str, npt.NDArray[Any]] = {"labels": labels[order[starts]]}
    for names, how in ((_ADDED, np.add), (_SMALLEST, np.minimum), (_LARGEST, np.maximum)):
        merged |= {name: reduce(name, how) for name in names}
    return LabelSums(**merged)
