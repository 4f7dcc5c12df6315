"""Voxels per label of one block, whatever numbers its labels carry."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.particles.label_index import LabelIndex, index_labels, row_of

Labels = npt.NDArray[np.uint32]


def count_voxels(labels: Labels) -> tuple[Labels, npt.NDArray[np.int64]]:
    """Return the labels above 0 in a (z, y, x) block, in rising order, and the voxels of each, int64."""
    index = index_labels(labels)
    voxels = np.zeros(len(index.labels), np.int64)
    _count(labels, index, voxels)
    return index.labels, voxels


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
