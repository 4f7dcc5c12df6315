"""What the voxels of each label of one block come to, whatever numbers its labels carry."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.particles.label_index import LabelIndex, index_labels, row_of

Labels = npt.NDArray[np.uint32]
Certainty = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


_UNKNOWN: Final = np.zeros((0, 0, 0), np.uint8)


class LabelMeasures(NamedTuple):
    """What is known of each label in a block, in rising order of labels.

    ids: (n,) uint32, above 0.
    voxels: (n,) int64.
    certainty: (n,) int64, sum over the voxels, 255 for each that is certain; 0 where nobody knows.
    reach: (6, n) int64, see `no_reach`.
    """

    ids: Labels
    voxels: Integers
    certainty: Integers
    reach: Integers


def count_voxels(labels: Labels) -> tuple[Labels, Integers]:
    """Return the labels above 0 in a (z, y, x) block, in rising order, and the voxels of each, int64."""
    index = index_labels(labels)
    voxels, certain = np.zeros((2, len(index.labels)), np.int64)
    _add_runs(labels, (0, 0, 0), _UNKNOWN, index, LabelMeasures(index.labels, voxels, certain, no_reach(0)))
    return index.labels, voxels


def measure_labels(labels: Labels, start: Shape, certainty: Certainty | None = None) -> LabelMeasures:
    """Measure every label above 0 in a (z, y, x) block that begins at `start` of the volume.

    `certainty` is of the same shape, uint8, 255 for certain; None where nobody knows.
    """
    index = index_labels(labels)
    n = len(index.labels)
    voxels, certain = np.zeros((2, n), np.int64)
    measures = LabelMeasures(index.labels, voxels, certain, no_reach(n))
    _add_runs(labels, start, _UNKNOWN if certainty is None else certainty, index, measures)
    return measures


def no_reach(n: int) -> Integers:
    """Return the reach of `n` things without a voxel, (6, n) int64.

    It is the least of (z, y, x, -z, -y, -x) over the voxels of each: the reach of two that become one is the smaller.
    """
    return np.full((6, n), np.iinfo(np.int64).max, np.int64)


def box_of_reach(reach: npt.NDArray[np.signedinteger]) -> Box:
    """Return the bounding box of one thing that has the reach (6,), see `no_reach`."""
    z, y, x, last_z, last_y, last_x = reach.tolist()
    return Box((z, y, x), (1 - last_z, 1 - last_y, 1 - last_x))


def relative_lengths(voxels: Integers, reach: Integers) -> npt.NDArray[np.float64]:
    """Return how long things are for their size, (n,): a ball has 1.7, a rod about the square root of its aspect.

    It is the diagonal of the bounding box over a diameter: that of the ball of equal volume, or of the disc that has
    the area of the mean section across the shortest side, whichever is larger. Of a particle in a scan of few slices,
    which cut it to a disc, the ball would be too small. Each thing has at least one voxel.
    """
    sides = (1 - reach[3:] - reach[:3]).astype(np.float64)
    ball = np.cbrt(6 / np.pi * voxels)
    disc = np.sqrt(4 / np.pi * voxels / sides.min(axis=0))
    return np.asarray(np.sqrt((sides**2).sum(axis=0)) / np.maximum(ball, disc))


@njit(nogil=True, cache=True)
def extend_reach(reach: Integers, row: int, z: int, y: int, start: int, stop: int) -> None:
    """Take the voxels `start` to `stop` along x of row (z, y) into the reach of number `row`."""
    reach[0, row] = min(reach[0, row], z)
    reach[1, row] = min(reach[1, row], y)
    reach[2, row] = min(reach[2, row], start)
    reach[3, row] = min(reach[3, row], -z)
    reach[4, row] = min(reach[4, row], -y)
    reach[5, row] = min(reach[5, row], 1 - stop)


@njit(nogil=True, cache=True)
def _add_runs(labels: Labels, origin: Shape, certainty: Certainty, index: LabelIndex, measures: LabelMeasures) -> None:
    """Add every run of a label to its measures; certainty or reach without an element is left alone."""
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            start = 0
            for x in range(1, labels.shape[2] + 1):
                if x == labels.shape[2] or labels[z, y, x] != labels[z, y, start]:
                    if labels[z, y, start] != 0:
                        row = row_of(labels[z, y, start], index)
                        measures.voxels[row] += x - start
                        if measures.reach.size > 0:
                            extend_reach(
                                measures.reach, row, origin[0] + z, origin[1] + y, origin[2] + start, origin[2] + x
                            )
                        if certainty.size > 0:
                            of_run = 0
                            for i in range(start, x):
                                of_run += certainty[z, y, i]
                            measures.certainty[row] += of_run
                    start = x
