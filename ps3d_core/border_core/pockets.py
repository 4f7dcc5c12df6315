"""Pockets: what is pending inside one block, with nothing but settled voxels and the block's own around it.

Growth goes step by step because a block must not run ahead of what it cannot see. A 26-connected component of pending
voxels is different when everything beside it lies in the block's core, where all labels are exact: no label comes in
from elsewhere, and nothing outside touches it, so nobody can tell whether it was filled now or later. It is grown to
its end at once. Growth that takes more steps than a halo is mostly of this kind: a particle that has lost its core.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.components import Components, find_components
from ps3d_core.border_core.growth import FRONT, PENDING, Labels, States, grow
from ps3d_core.geometry.boxes import Box

WAITING: Final = 3
"""State of a pending voxel outside of pockets while these are filled."""

Flags = npt.NDArray[np.bool_]


def fill_pockets(labels: Labels, states: States, core: Box) -> None:
    """Grow to its end, in place, what is pending in pockets of the `core`; what else is pending stays.

    `labels` and `states` are as `grow` leaves them, `core` is the part of `states` in which they are exact. Where it
    ends with `states`, so does the volume.
    """
    pieces = find_components(states, PENDING, 26)
    open_pieces = _open_pieces(pieces, core)
    _mark(pieces, open_pieces, WAITING, states)
    grow(labels, states, states.size)
    _mark(pieces, open_pieces, PENDING, states)


def goes_on(states: States, core: Box) -> bool:
    """Return whether a voxel of the `core` was labelled in the last step and has a pending one beside it."""
    return bool(_goes_on(states, core.start, core.stop))


def _open_pieces(pieces: Components, core: Box) -> Flags:
    """Whether something beside a piece may lie outside of the core, (pieces + 1,) by label."""
    start = [a + (a > 0) for a in core.start]
    stop = [b - (b < n) for b, n in zip(core.stop, pieces.shape, strict=True)]
    open_pieces = np.zeros(pieces.total + 1, np.bool_)
    _find_open(pieces, (start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), open_pieces)
    return open_pieces


@njit(nogil=True, cache=True)
def _find_open(pieces: Components, start: tuple[int, int, int], stop: tuple[int, int, int], open_pieces: Flags) -> None:
    depth, height, _ = pieces.shape
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            inside = start[0] <= z < stop[0] and start[1] <= y < stop[1]
            for run in range(pieces.first[row], pieces.first[row + 1]):
                if not inside or pieces.begin[run] < start[2] or pieces.end[run] > stop[2]:
                    open_pieces[pieces.label[run]] = True


@njit(nogil=True, cache=True)
def _mark(pieces: Components, marked: Flags, state: int, states: States) -> None:
    """Give all voxels of the marked pieces a state."""
    depth, height, _ = pieces.shape
    for z in range(depth):
        for y in range(height):
            row = z * height + y
            for run in range(pieces.first[row], pieces.first[row + 1]):
                if marked[pieces.label[run]]:
                    states[z, y, pieces.begin[run] : pieces.end[run]] = state


@njit(nogil=True, cache=True)
def _goes_on(states: States, start: tuple[int, int, int], stop: tuple[int, int, int]) -> bool:
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            row = states[z, y, start[2] : stop[2]]
            fronts = 0
            for x in range(row.size):  # branch-free: nearly all rows have none
                fronts += row[x] == FRONT
            if fronts == 0:
                continue
            for x in range(row.size):
                if row[x] == FRONT and _beside_pending(states, z, y, start[2] + x):
                    return True
    return False


@njit(nogil=True, cache=True)
def _beside_pending(states: States, z: int, y: int, x: int) -> bool:
    for i in range(max(z - 1, 0), min(z + 2, states.shape[0])):
        for j in range(max(y - 1, 0), min(y + 2, states.shape[1])):
            for k in range(max(x - 1, 0), min(x + 2, states.shape[2])):
                if states[i, j, k] == PENDING:
                    return True
    return False
