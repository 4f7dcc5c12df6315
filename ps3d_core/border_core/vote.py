"""Labels from one grid to another: each target voxel asks its 8 source neighbours, weighted as in linear interpolation.

    source = (target + 0.5) * (n_source / n_target) - 0.5      voxel centres, clamped to the volume

The label with the largest sum of weights wins, background votes like any label. It is what interpolating one
indicator image per label would decide, at the cost of one pass for all labels.

Ties go to the lower id. Training labels may want the higher one: ParticleSeg3D, and networks trained with it, let a
later label overwrite an earlier one wherever it has half the weight, and on grids in a simple ratio, 3 to 4 say,
exact halves are one voxel in a hundred.

Along an axis, source = ((2 t + 1) n_source - n_target) / (2 n_target): a fraction with one denominator for all voxels.
Weights are therefore whole numbers, sums are exact, ties are true ties, and no cut into boxes can show.
"""

from __future__ import annotations

from math import prod
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape

Labels = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]

_NEIGHBOURS: Final = 8
_MAX_WEIGHT: Final = 2**63 - 1


class LabelVote:
    """Map of labels from a grid of `source_shape` to one of `target_shape`, box by box."""

    def __init__(self, source_shape: Shape, target_shape: Shape, *, ties: Literal["lower", "higher"] = "lower") -> None:
        # The sum of all weights of a voxel must fit 64 bits.
        if prod(2 * n for n in target_shape) > _MAX_WEIGHT:
            raise InputError(f"target grid {target_shape}: about 2**60 voxels at most; give a coarser grid")
        self.source_shape = source_shape
        self.target_shape = target_shape
        self.ties = ties

    def source_box(self, target: Box) -> Box:
        """Return the voxels of the source that `target`, which is not empty, needs."""
        axes = [self._axis(axis, target.start[axis], target.stop[axis]) for axis in range(3)]
        (z0, z1), (y0, y1), (x0, x1) = ((int(index[0, 0]), int(index[-1, 1]) + 1) for index, _ in axes)
        return Box((z0, y0, x0), (z1, y1, x1))

    def __call__(self, source: Labels, target: Box) -> Labels:
        """Return labels of the `target` box, uint32, from `source`, C-contiguous labels of `source_box(target)`."""
        box = self.source_box(target)
        if source.shape != box.shape:
            raise ValueError(f"source has shape {source.shape}, box {target} needs {box.shape}")
        indices, weights = [], []
        for axis in range(3):
            index, weight = _nearer_first(*self._axis(axis, target.start[axis], target.stop[axis]))
            indices.append(index - box.start[axis])
            weights.append(weight)
        elected = np.empty(target.shape, np.uint32)
        positions, shares = (indices[0], indices[1], indices[2]), (weights[0], weights[1], weights[2])
        _vote(source, positions, shares, self.ties == "higher", elected)
        return elected

    def _axis(self, axis: int, start: int, stop: int) -> tuple[Integers, Integers]:
        """Source indices (n, 2) and weights (n, 2) of target indices start..stop; weights sum to 2 n_target."""
        n_source, n_target = self.source_shape[axis], self.target_shape[axis]
        numerator = (2 * np.arange(start, stop, dtype=np.int64) + 1) * n_source - n_target
        lower = numerator // (2 * n_target)
        upper_weight = numerator - lower * (2 * n_target)
        index = np.clip(np.stack((lower, lower + 1), axis=1), 0, n_source - 1)
        return index, np.stack((2 * n_target - upper_weight, upper_weight), axis=1)


def _nearer_first(index: Integers, weight: Integers) -> tuple[Integers, Integers]:
    """Source indices and weights of an axis, (n, 2) each, with that of the larger weight first."""
    order = np.argsort(-weight, axis=1, kind="stable")
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(weight, order, axis=1)


def vote_labels(labels: Labels, shape: Shape, *, ties: Literal["lower", "higher"] = "lower") -> Labels:
    """Return a whole label volume (z, y, x) in memory on a grid of `shape`, uint32."""
    z, y, x = labels.shape
    vote, whole = LabelVote((z, y, x), shape, ties=ties), Box.of(shape)
    # A much coarser grid asks for less than all of the source.
    return vote(np.ascontiguousarray(labels[vote.source_box(whole).slices]), whole)


@njit(nogil=True, cache=True)
def _vote(
    source: Labels,
    indices: tuple[Integers, Integers, Integers],
    weights: tuple[Integers, Integers, Integers],
    higher: bool,
    elected: Labels,
) -> None:
    index_z, index_y, index_x = indices
    weight_z, weight_y, weight_x = weights
    candidates = np.empty(_NEIGHBOURS, np.uint32)
    votes = np.empty(_NEIGHBOURS, np.int64)
    alike = np.empty(source.shape[2], np.bool_)
    for z in range(elected.shape[0]):
        for y in range(elected.shape[1]):
            row_a = source[index_z[z, 0], index_y[y, 0]]
            row_b = source[index_z[z, 0], index_y[y, 1]]
            row_c = source[index_z[z, 1], index_y[y, 0]]
            row_d = source[index_z[z, 1], index_y[y, 1]]
            rows = (
                weight_z[z, 0] * weight_y[y, 0],
                weight_z[z, 0] * weight_y[y, 1],
                weight_z[z, 1] * weight_y[y, 0],
                weight_z[z, 1] * weight_y[y, 1],
            )
            # Branch-free, so that the compiler uses vectors: most voxels are inside a particle or outside of all.
            for i in range(alike.size):
                alike[i] = (row_a[i] == row_b[i]) & (row_a[i] == row_c[i]) & (row_a[i] == row_d[i])
            for i in range(alike.size - 1):
                alike[i] &= alike[i + 1] & (row_a[i] == row_a[i + 1])
            for x in range(elected.shape[2]):
                i, j = index_x[x, 0], index_x[x, 1]
                label = row_a[i]
                if alike[min(i, j)]:  # the first of both, and so the other
                    elected[z, y, x] = label
                    continue
                near, far = weight_x[x, 0], weight_x[x, 1]
                ids = (label, row_a[j], row_b[i], row_b[j], row_c[i], row_c[j], row_d[i], row_d[j])
                if _first_has_more_than_half(ids, rows, near, far):  # it is mostly that of the nearest neighbour
                    elected[z, y, x] = label
                else:
                    elected[z, y, x] = _elect(ids, rows, near, far, higher, candidates, votes)


@njit(nogil=True, cache=True, inline="always")
def _first_has_more_than_half(ids: tuple[np.uint32, ...], rows: tuple[int, ...], near: int, far: int) -> bool:
    """Whether the first of 8 ids has more than half of the weights, which are as in `_elect`."""
    own = 0
    for row in range(4):
        own += rows[row] * ((near if ids[2 * row] == ids[0] else 0) + (far if ids[2 * row + 1] == ids[0] else 0))
    return 2 * own > (near + far) * (rows[0] + rows[1] + rows[2] + rows[3])


@njit(nogil=True, cache=True, inline="always")
def _elect(
    ids: tuple[np.uint32, ...],
    rows: tuple[int, ...],
    near: int,
    far: int,
    higher: bool,
    candidates: Labels,
    votes: Integers,
) -> np.uint32:
    """The winner among the ids of 8 neighbours, whose weights are those of 4 rows times `near` and `far` in turn."""
    first = other = ids[0]
    for k in range(1, 8):
        other = other if ids[k] == first else ids[k]
    only_two, for_first, for_other = True, 0, 0
    for k in range(8):
        weight = rows[k >> 1] * (far if k & 1 else near)
        for_first += weight if ids[k] == first else 0
        for_other += weight if ids[k] == other else 0
        only_two &= (ids[k] == first) | (ids[k] == other)
    if only_two:
        if for_first == for_other:
            return max(first, other) if higher else min(first, other)
        return first if for_first > for_other else other
    n = 0
    for k in range(8):
        n = _cast(candidates, votes, n, ids[k], rows[k >> 1] * (far if k & 1 else near))
    return _winner(candidates, votes, n, higher)


@njit(nogil=True, cache=True)
def _cast(candidates: Labels, votes: Integers, n: int, label: np.uint32, weight: int) -> int:
    """Add a vote for `label`; returns the number of candidates."""
    for i in range(n):
        if candidates[i] == label:
            votes[i] += weight
            return n
    candidates[n] = label
    votes[n] = weight
    return n + 1


@njit(nogil=True, cache=True)
def _winner(candidates: Labels, votes: Integers, n: int, higher: bool) -> np.uint32:
    best = 0
    for i in range(1, n):
        preferred = (candidates[i] > candidates[best]) == higher
        if votes[i] > votes[best] or (votes[i] == votes[best] and preferred):
            best = i
    winner: np.uint32 = candidates[best]
    return winner
