"""Cutouts of a label image, each with some particles whole, one in memory at a time.

Small particles that begin near each other share a cutout; a large one has its own. A particle whose box has more than
`MOST_VOXELS` voxels is looked at in steps of 2, 3, ... voxels along every axis, so few that the box has no more: it is
256 voxels wide or wider, and a step is less than 1 % of it. That does not depend on the memory there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.particles.boxes import Boxes
from ps3d_core.particles.label_index import Labels, as_labels
from ps3d_core.particles.whole import MARGIN, Cutout
from ps3d_core.store.arrays import read_box

MOST_VOXELS: Final = 2**24
"""Of a cutout, and of the box of one particle."""
SMALL: Final = 48
"""Longest side in voxels of particles that share a cutout."""
TILE: Final = 128
"""Side in voxels of the part of a block in which particles of one cutout begin."""
CUTOUT_VOXELS: Final = max((TILE + SMALL + 2 * MARGIN) ** 3, MOST_VOXELS)
"""Most voxels that a cutout has, margins of a large particle left out."""


@dataclass(frozen=True, slots=True)
class Images:
    """Open arrays that cutouts are made of, all of one shape.

    Attributes:
        labels: whole numbers.
        others: real values, by name.
        edges: of a voxel (z, y, x), mm.
        name: what the label image is called in errors.

    """

    labels: zarr.Array[Any]
    others: Mapping[str, zarr.Array[Any]]
    edges: Spacing
    name: str

    @property
    def shape(self) -> Shape:
        """Of all arrays."""
        return cast(Shape, self.labels.shape)


def cutouts(images: Images, boxes: Boxes) -> Iterator[Cutout]:
    """Yield cutouts that hold each of the particles of `boxes` once."""
    small = boxes.sides.max(axis=1, initial=0) <= SMALL
    tiles = boxes.low // TILE
    for tile in np.unique(tiles[small], axis=0):
        yield _cutout(images, boxes.rows(small & (tiles == tile).all(axis=1)))
    for row in np.flatnonzero(~small):
        one = boxes.rows(slice(row, row + 1))
        step = ceil(float(np.cbrt(float(one.sides.prod()) / MOST_VOXELS)))
        yield _cutout(images, one, max(1, step))


def _cutout(images: Images, boxes: Boxes, step: int = 1) -> Cutout:
    margin = MARGIN * step
    start = boxes.low.min(axis=0).astype(np.int64) - margin
    stop = boxes.high.max(axis=0).astype(np.int64) + 1 + margin
    z, y, x = (images.edges[axis] * step for axis in range(3))
    labels = _read(images.labels, start, stop, step, as_what=images.name)
    low, high = boxes.low - start, boxes.high - start
    if step > 1:
        labels = _with_label(labels, images, start, step, int(boxes.labels[0]))
        low, high = _box_of(labels == boxes.labels[0])
    return Cutout(
        labels=labels,
        ids=boxes.labels,
        low=low.astype(np.int32),
        high=high.astype(np.int32),
        edges=(z, y, x),
        start=_shape(start),
        images={name: _read(array, start, stop, step) for name, array in images.others.items()},
    )


def _with_label(labels: Labels, images: Images, start: npt.NDArray[np.int64], step: int, label: int) -> Labels:
    """The steps of a label image, in which a particle that all steps miss is wherever it has a voxel in a step."""
    if (labels == label).any():
        return labels
    for offset in product(range(step), repeat=3):
        first = start + offset
        others = _read(images.labels, first, first + step * np.array(labels.shape), step, as_what=images.name)
        labels[others == label] = label
    return labels


def _box_of(inside: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last voxel (1, 3) of what is inside."""
    filled = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array([[each[0] for each in filled]]), np.array([[each[-1] for each in filled]])


def _read(
    array: zarr.Array[Any],
    start: npt.NDArray[np.int64],
    stop: npt.NDArray[np.int64],
    step: int,
    as_what: str | None = None,
) -> npt.NDArray[Any]:
    """Every `step`-th voxel between `start` and `stop`, which may lie beyond the faces of the array.

    Labels, which have a name `as_what`, are 0 there and whole numbers of 32 bits; other values are their nearest.
    """
    shape = np.array(array.shape)
    inside = Box(_shape(np.maximum(start, 0)), _shape(np.minimum(stop, shape)))
    before = np.array(inside.start) - start
    # The first voxel that is taken is `start`, or the next one of its steps.
    first = (-before) % step
    parts = []
    for slab in inside.slabs(max(1, 2**22 // max(1, inside.shape[1] * inside.shape[2]))):
        skipped = (first[0] - (slab.start[0] - inside.start[0])) % step
        values = read_box(array, slab)
        values = values if as_what is None else as_labels(values, as_what)
        parts.append(values[skipped::step, first[1] :: step, first[2] :: step])
    taken = np.concatenate(parts) if len(parts) > 1 else parts[0]
    wanted = -(-(stop - start) // step)
    ahead = (before + first) // step
    pads = [(int(a), int(n - a - have)) for a, n, have in zip(ahead, wanted, taken.shape, strict=True)]
    if not any(map(any, pads)):
        return np.ascontiguousarray(taken)
    return np.pad(taken, pads, "edge") if as_what is None else np.pad(taken, pads)


def _shape(values: npt.NDArray[np.int64]) -> Shape:
    z, y, x = values.tolist()
    return z, y, x
