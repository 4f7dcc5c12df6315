"""Which particles a label volume holds, and the box around each, found in blocks.

A block knows the boxes of its own voxels; boxes of one label that several blocks saw are joined. What is kept is one
row per particle and block, never a voxel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.border_core.voxel_counts import Labels, measure_labels
from ps3d_core.geometry.boxes import Shape

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
    measures = measure_labels(labels, start)
    return ParticleBoxes(measures.ids, measures.reach[:3].T, 1 - measures.reach[3:].T)


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
