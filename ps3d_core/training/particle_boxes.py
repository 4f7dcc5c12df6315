"""Which particles a label volume holds, and the box around each, found in blocks.

A block knows the boxes of its own voxels; boxes of one label that several blocks saw are joined. What is kept is one
row per particle and block, never a voxel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.label_index import LabelIndex, Labels, index_labels, row_of

Corners = npt.NDArray[np.int64]


class ParticleBoxes(NamedTuple):
    """Boxes of particles: `ids` (n,) uint32 rising; `start`, `stop` (n, 3) int64, half-open, axes (z, y, x)."""

    ids: Labels
    start: Corners
    stop: Corners

    def inside(self, shape: Shape) -> ParticleBoxes:
        """Return the boxes that touch no face of a volume of `shape`: those of particles that are whole."""
        whole = (self.start > 0).all(axis=1) & (self.stop < np.array(shape)).all(axis=1)
        return ParticleBoxes(self.ids[whole], self.start[whole], self.stop[whole])

    def to_json(self) -> dict[str, list[int]]:
        """Return the boxes JSON-able: {id: [z0, y0, x0, z1, y1, x1]}."""
        rows = np.concatenate((self.start, self.stop), axis=1).tolist()
        return {str(label): row for label, row in zip(self.ids.tolist(), rows, strict=True)}


def block_boxes(labels: Labels, start: Shape) -> ParticleBoxes:
    """Return the boxes of the labels above 0 of a block (z, y, x) that begins at voxel `start` of the volume."""
    index = index_labels(labels)
    low = np.full((len(index.labels), 3), np.iinfo(np.int64).max)
    high = np.full((len(index.labels), 3), -1, np.int64)
    _extend(labels, index, low, high)
    offset = np.array(start, np.int64)
    return ParticleBoxes(index.labels, low + offset, high + offset + 1)


def joined(parts: Iterable[ParticleBoxes]) -> ParticleBoxes:
    """Return one box per label, around its boxes in all `parts`."""
    parts = list(parts)
    if not parts:
        return ParticleBoxes(np.zeros(0, np.uint32), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64))
    ids, rows = np.unique(np.concatenate([part.ids for part in parts]), return_inverse=True)
    start, stop = np.full((len(ids), 3), np.iinfo(np.int64).max), np.full((len(ids), 3), -1, np.int64)
    np.minimum.at(start, rows, np.concatenate([part.start for part in parts]))
    np.maximum.at(stop, rows, np.concatenate([part.stop for part in parts]))
    return ParticleBoxes(ids, start, stop)


@njit(nogil=True, cache=True)
def _extend(labels: Labels, index: LabelIndex, low: Corners, high: Corners) -> None:
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            start = 0
            for x in range(1, labels.shape[2] + 1):
                if x == labels.shape[2] or labels[z, y, x] != labels[z, y, start]:
                    if labels[z, y, start] != 0:
                        row = row_of(labels[z, y, start], index)
                        low[row, 0], high[row, 0] = min(low[row, 0], z), max(high[row, 0], z)
                        low[row, 1], high[row, 1] = min(low[row, 1], y), max(high[row, 1], y)
                        low[row, 2], high[row, 2] = min(low[row, 2], start), max(high[row, 2], x - 1)
                    start = x
