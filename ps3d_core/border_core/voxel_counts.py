"""Voxels per label of one block, whatever numbers its labels carry, and how certain they are together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.particles.label_index import LabelIndex, index_labels, row_of

Labels = npt.NDArray[np.uint32]
Certainty = npt.NDArray[np.uint8]


class VoxelCounts(NamedTuple):
    """Sums over the voxels of each label, in rising order of labels.

    ids: (n,) uint32, above 0.
    voxels: (n,) int64.
    certainty: (n,) int64, sum of the voxels' certainty, 255 for each that is certain; 0 where none was given.
    """

    ids: Labels
    voxels: npt.NDArray[np.int64]
    certainty: npt.NDArray[np.int64]


def count_voxels(labels: Labels, certainty: Certainty | None = None) -> VoxelCounts:
    """Return the voxels of every label above 0 in a (z, y, x) block, and the sum of their certainty, uint8."""
    index = index_labels(labels)
    voxels, certain = np.zeros((2, len(index.labels)), np.int64)
    if certainty is None:
        _count(labels, index, voxels)
    else:
        _count_certain(labels, certainty, index, voxels, certain)
    return VoxelCounts(index.labels, voxels, certain)


@njit(nogil=True, cache=True)
def _count(labels: Labels, index: LabelIndex, voxels: npt.NDArray[np.int64]) -> None:
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            start = 0
            for x in range(1, labels.shape[2] + 1):
                if x == labels.shape[2] or labels[z, y, x] != labels[z, y, start]:
                    if labels[z, y, start] != 0:
                        voxels[row_of(labels[z, y, start], index)] += x - start
                    start = x


@njit(nogil=True, cache=True)
def _count_certain(
    labels: Labels,
    certainty: Certainty,
    index: LabelIndex,
    voxels: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int64],
) -> None:
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            start = 0
            for x in range(1, labels.shape[2] + 1):
                if x == labels.shape[2] or labels[z, y, x] != labels[z, y, start]:
                    if labels[z, y, start] != 0:
                        row = row_of(labels[z, y, start], index)
                        voxels[row] += x - start
                        of_run = 0
                        for i in range(start, x):
                            of_run += certainty[z, y, i]
                        sums[row] += of_run
                    start = x
