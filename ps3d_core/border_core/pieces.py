"""Components that blocks cut into pieces: numbered in the block, merged in the volume, in arrays throughout.

    label    1..n, a piece in its block
    serial   offset of the block + label: a piece in the volume
    root     the smallest serial of a component
    number   1..N, a component, in C order of its first voxel

A block stores a few sums per piece and the labels on its faces; merging reads these files and no voxel. Its memory
is one number per piece and sum: ten million pieces with five of them are 400 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.components import Components
from ps3d_core.border_core.seams import Faces, Labels, SeamSweep
from ps3d_core.border_core.unionfind import flatten, least_into_roots, sum_into_roots
from ps3d_core.border_core.voxel_counts import Certainty, extend_reach, no_reach
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store.location import Location

MAX_IDS: Final = 2**32 - 1

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """All pieces of a volume after merging, by serial; entry 0 is unused.

    offsets: (blocks + 1,) serials before each block, and in all.
    root: (serials + 1,) root of every piece.
    first: (serials + 1,) at a root, C-order index in the volume of the component's first voxel.
    sums: named (serials + 1,) arrays; at a root, the sum over the component.
    reach: (6, serials + 1), see `no_reach`; at a root, that of the component. (6, 0) when it was not wanted.
    """

    offsets: Integers
    root: Integers
    first: Integers
    sums: dict[str, Integers]
    reach: Integers

    def components(self) -> Integers:
        """Return the roots of all components."""
        roots: Integers = np.flatnonzero(self.root == np.arange(len(self.root)))[1:]
        return roots

    def in_scan_order(self, roots: Integers) -> Integers:
        """Return `roots` in C order of the first voxel of their components."""
        return roots[np.argsort(self.first[roots], kind="stable")]

    def numbers(self, ordered: Integers) -> Labels:
        """Return the number of every piece's component, uint32, by serial.

        Components with the roots `ordered` have the numbers 1..n in their order; all others have 0.
        """
        numbers = np.zeros(len(self.root), np.uint32)
        numbers[ordered] = np.arange(1, len(ordered) + 1, dtype=np.uint32)
        return numbers[self.root]


def measure_pieces(pieces: Components, core: Box, shape: Shape) -> dict[str, Integers]:
    """Return by label where the pieces of one block begin and how large they are.

    "first" is the C-order index in the volume of a piece's first voxel, "voxels" the number of its voxels. The block is
    the box `core` in a volume of `shape`.
    """
    first = np.full(pieces.total, -1, np.int64)
    voxels = np.zeros(pieces.total, np.int64)
    _measure(pieces, core.start, shape, first, voxels)
    return {"first": first, "voxels": voxels}


def measure_extents(pieces: Components, core: Box, certainty: Certainty | None) -> dict[str, Integers]:
    """Return by label how far the pieces of one block reach, and how certain they are.

    "reach" is that of `no_reach`, "certainty" the sum over a piece's voxels in `certainty` (z, y, x), uint8, or 0 where
    nobody knows. The block is the box `core` in the volume.
    """
    reach, sums = no_reach(pieces.total), np.zeros(pieces.total, np.int64)
    known = np.zeros((0, 0, 0), np.uint8) if certainty is None else certainty
    _measure_extents(pieces, core.start, known, reach, sums)
    return {"reach": reach, "certainty": sums}


def merge_pieces(
    grid: BlockGrid,
    counts: Mapping[int, int],
    file: Callable[[int], Location],
    *,
    diagonal: bool,
    sums: Sequence[str],
    reach: bool = False,
) -> Pieces:
    """Join the pieces of all blocks.

    Args:
        grid: the blocks.
        counts: pieces of each block; a block without pieces may be absent, and needs no file.
        file: where a block's arrays are: "first" and sums by label, and `block_faces`.
        diagonal: pieces that share an edge or a corner are joined too (26-connected), else only by faces (6).
        sums: names of the measures to add up.
        reach: how far components reach is wanted, and in the files.

    Raises:
        InputError: when there are more pieces than 32-bit numbers.

    """
    offsets = serial_offsets(len(grid), counts)
    serials = int(offsets[-1]) + 1
    parent = np.arange(serials, dtype=np.int64)
    first = np.zeros(serials, np.int64)
    totals = {name: np.zeros(serials, np.int64) for name in sums}
    reached = no_reach(serials if reach else 0)
    sweep = SeamSweep(grid, parent, diagonal=diagonal)
    for block in grid:
        stored: Faces = {}
        offset = int(offsets[block.index])
        if counts.get(block.index):
            stored = file(block.index).read_arrays()
            mine = slice(offset + 1, int(offsets[block.index + 1]) + 1)
            first[mine] = stored["first"]
            for name, values in totals.items():
                values[mine] = stored[name]
            if reach:
                reached[:, mine] = stored["reach"]
        sweep.visit(block, stored, offset)
    flatten(parent)
    least_into_roots(parent, first)
    for values in totals.values():
        sum_into_roots(parent, values)
    for row in reached if reach else ():
        least_into_roots(parent, row)
    return Pieces(offsets, parent, first, totals, reached)


def serial_offsets(blocks: int, counts: Mapping[int, int]) -> Integers:
    """Return the number of pieces before each of the blocks, and in all, (blocks + 1,) int64.

    `counts` are the pieces of the blocks that have any. Raise `InputError` when 32 bits cannot number the pieces.
    """
    offsets = np.zeros(blocks + 1, np.int64)
    for index, count in counts.items():
        offsets[index + 1] = count
    np.cumsum(offsets, out=offsets)
    check_ids(int(offsets[-1]))
    return offsets


def check_ids(needed: int) -> None:
    """Raise `InputError` when there are more things to number than 32 bits can."""
    if needed > MAX_IDS:
        raise InputError(
            f"{needed} connected pieces: 32-bit ids end at {MAX_IDS}",
            "check that this is a border-core volume",
            "raise <memory>, which makes larger blocks",
            "cut the scan",
        )


def number_labels(
    labels: Labels, box: Box, grid: BlockGrid, offsets: Integers, numbers: Labels, into: Labels, above: int = 0
) -> None:
    """Write the numbers of labels that blocks gave to `into`, where its other voxels stay.

    Args:
        labels: (z, y, x) of `box`; those greater than `above` are `above` + label of a piece in its block.
        box: any box of the volume.
        grid: the blocks.
        offsets: (bz, by, bx) serials before each block.
        numbers: by serial.
        into: (z, y, x), may be `labels` itself.
        above: what the labels of pieces begin after.

    """
    layer, row, column = (
        np.arange(start, stop, dtype=np.int64) // side
        for start, stop, side in zip(box.start, box.stop, grid.block_shape, strict=True)
    )
    _number(labels, above, (layer, row, column), offsets, numbers, into)


@njit(nogil=True, cache=True)
def _measure(pieces: Components, start: Shape, shape: Shape, first: Integers, voxels: Integers) -> None:
    depth, height, _ = pieces.shape
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            before = ((start[0] + z) * shape[1] + start[1] + y) * shape[2] + start[2]
            for run in range(pieces.first[row], pieces.first[row + 1]):
                piece = pieces.label[run] - 1
                voxels[piece] += pieces.end[run] - pieces.begin[run]
                if first[piece] < 0:
                    first[piece] = before + pieces.begin[run]


@njit(nogil=True, cache=True)
def _measure_extents(pieces: Components, start: Shape, certainty: Certainty, reach: Integers, sums: Integers) -> None:
    depth, height, _ = pieces.shape
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            for run in range(pieces.first[row], pieces.first[row + 1]):
                piece, begin, end = pieces.label[run] - 1, pieces.begin[run], pieces.end[run]
                extend_reach(reach, piece, start[0] + z, start[1] + y, start[2] + begin, start[2] + end)
                if certainty.size > 0:
                    for x in range(begin, end):
                        sums[piece] += certainty[z, y, x]


@njit(nogil=True, cache=True)
def _number(
    labels: Labels,
    above: int,
    positions: tuple[Integers, Integers, Integers],
    offsets: Integers,
    numbers: Labels,
    into: Labels,
) -> None:
    layer, row, column = positions
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            before = offsets[layer[z], row[y]]
            for x in range(labels.shape[2]):
                piece = np.int64(labels[z, y, x]) - above
                if piece > 0:
                    into[z, y, x] = numbers[before[column[x]] + piece]
