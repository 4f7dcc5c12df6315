"""Where blocks meet: which pieces touch across the faces, edges and corners of blocks.

A sweep over the blocks in C order compares the lower faces of each block with planes that remember the upper faces
of blocks before it:

    z plane  (height, width)  of the volume     the layer of blocks below
    y plane  (depth, width)   of one row        the row before, in this layer
    x plane  (depth, height)  of one block      the block before, in this row

Two voxels that touch lie in one block, or in different layers, or else different rows, or else next to each other in
one row; the first of these names the plane that holds one of them while the other is on a face. So a face compared
with the 3 x 3 neighbourhoods in its plane sees all 26 neighbours, across edges and corners of blocks as well. The
sweep needs the memory of a slice, however many blocks there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.components import Components, write_labels
from ps3d_core.border_core.unionfind import join
from ps3d_core.geometry.blocks import Block, BlockGrid

Labels = npt.NDArray[np.uint32]
Faces = dict[str, npt.NDArray[Any]]


def block_faces(pieces: Components, block: Block, grid: BlockGrid) -> Faces:
    """Return the labels on faces of a block behind which another block lies: "z_lower", "z_upper", "y_lower", ..."""
    faces: Faces = {}
    for axis, name in enumerate("zyx"):
        if block.position[axis] > 0:
            faces[f"{name}_lower"] = _section(pieces, axis, 0)
        if block.position[axis] < grid.counts[axis] - 1:
            faces[f"{name}_upper"] = _section(pieces, axis, pieces.shape[axis] - 1)
    return faces


def _section(pieces: Components, axis: int, index: int) -> Labels:
    """Labels where the coordinate along `axis` is `index`; 0 where no piece is."""
    section = np.zeros([side for other, side in enumerate(pieces.shape) if other != axis], np.uint32)
    match axis:
        case 0:
            write_labels(pieces.planes(index, index + 1), section[np.newaxis])
        case 1:
            _cut_rows(pieces, index, section)
        case 2:
            _cut_runs(pieces, index, section)
    return section


class SeamSweep:
    """Sweep over all blocks of a volume, which joins the pieces that touch across faces, edges and corners of blocks.

    They are joined in `parent`, the disjoint sets of serials (numbers of all pieces of the volume, from 1).
    """

    def __init__(self, grid: BlockGrid, parent: npt.NDArray[np.int64], *, diagonal: bool) -> None:
        _, height, width = grid.shape
        block_depth, block_height, _ = (min(b, n) for b, n in zip(grid.block_shape, grid.shape, strict=True))
        self._parent, self._reach = parent, int(diagonal)
        # A layer (row) still looks diagonally at the one before while its own faces arrive: two planes take turns.
        self._z, self._next_z = np.zeros((2, height, width), np.uint32)
        self._y, self._next_y = np.zeros((2, block_depth, width), np.uint32)
        self._x = np.zeros((block_depth, block_height), np.uint32)

    def visit(self, block: Block, faces: Faces, offset: int) -> None:
        """Join a block with the blocks before it. All blocks must be visited in C order; those without pieces too.

        `offset` + label is the serial of a piece. Faces that are not given are empty.
        """
        (layer, row, column), core = block.position, block.core
        if row == 0 and column == 0:
            self._z, self._next_z = self._next_z, self._z
        if column == 0:
            self._y, self._next_y = self._next_y, self._y
        rows, columns = core.slices[1:]
        depth, height, _ = core.shape
        if layer:
            self._touch(faces.get("z_lower"), offset, self._z, rows.start, columns.start)
        if row:
            self._touch(faces.get("y_lower"), offset, self._y[:depth], 0, columns.start)
        if column:
            self._touch(faces.get("x_lower"), offset, self._x[:depth, :height], 0, 0)
        _remember(faces.get("z_upper"), offset, self._next_z[rows, columns])
        _remember(faces.get("y_upper"), offset, self._next_y[:depth, columns])
        _remember(faces.get("x_upper"), offset, self._x[:depth, :height])

    def _touch(self, face: Labels | None, offset: int, plane: Labels, row: int, column: int) -> None:
        if face is not None:
            _join_face(face, offset, plane, row, column, self._reach, self._parent)


@njit(nogil=True, cache=True)
def _cut_rows(pieces: Components, y: int, section: Labels) -> None:
    depth, height, _ = pieces.shape
    for z in range(depth):
        for run in range(pieces.first[z * height + y], pieces.first[z * height + y + 1]):
            section[z, pieces.begin[run] : pieces.end[run]] = pieces.label[run]


@njit(nogil=True, cache=True)
def _cut_runs(pieces: Components, x: int, section: Labels) -> None:
    depth, height, _ = pieces.shape
    for z in range(depth):
        for y in range(height):
            for run in range(pieces.first[z * height + y], pieces.first[z * height + y + 1]):
                if pieces.begin[run] <= x < pieces.end[run]:
                    section[z, y] = pieces.label[run]


def _remember(face: Labels | None, offset: int, plane: Labels) -> None:
    plane[:] = 0 if face is None else np.where(face > 0, face + np.uint32(offset), np.uint32(0))


@njit(nogil=True, cache=True)
def _join_face(
    face: Labels, offset: int, plane: Labels, row: int, column: int, reach: int, parent: npt.NDArray[np.int64]
) -> None:
    """Join the pieces on `face`, whose corner is at (row, column) of `plane`, with what the plane remembers."""
    height, width = plane.shape
    for i in range(face.shape[0]):
        for j in range(face.shape[1]):
            if face[i, j] == 0:
                continue
            serial = np.int64(face[i, j]) + offset
            for other_i in range(max(row + i - reach, 0), min(row + i + reach + 1, height)):
                for other_j in range(max(column + j - reach, 0), min(column + j + reach + 1, width)):
                    if plane[other_i, other_j] != 0:
                        join(parent, serial, np.int64(plane[other_i, other_j]))
