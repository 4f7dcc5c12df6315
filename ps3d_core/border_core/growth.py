"""Growth: every voxel to its nearest core, in steps to the 26 neighbours, inside the foreground.

All labels advance one step at a time. A voxel reached from several sides in one step takes the highest label. So a
voxel gets the highest label among its nearest cores: those that are nearest all reach it in the same step, through
neighbours that hold the highest label of theirs.

What lies beyond the array can only reach a voxel after as many steps as it is away from the edge. `steps` steps
are therefore exact for every voxel with `steps` voxels around it, in all directions or up to the volume's faces.

A step takes the maximum over 3 x 3 x 3 labels, row by row: nine rows into one, then neighbours along the row. Both
loops are branch-free and run at vector speed, which beats a queue of voxels. The frontier is kept per row instead:
a row is visited when voxels in it are pending and the step before changed it or a row beside it, so the cost is that
of the border, not of the block times the steps.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

Labels = npt.NDArray[np.uint32]
States = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int32]

# States of a voxel.
SETTLED: Final = 0  # background, or labelled before the last step
PENDING: Final = 1  # foreground without a label
FRONT: Final = 2  # labelled in the last step


def mark_pending(foreground: States, labels: Labels) -> States:
    """Turn `foreground` into states, in place: `PENDING` where it is not 0 and `labels` is 0, else `SETTLED`.

    `foreground` is (z, y, x), `labels` has the margin that `grow` wants. Return `foreground`.
    """
    _mark(foreground, labels)
    return foreground


def count_pending(states: States) -> int:
    """Return how many voxels are `PENDING`."""
    return int(_pending_per_row(states).sum())


def grow(labels: Labels, states: States, steps: int) -> None:
    """Let labels grow by `steps` steps, in place; fewer when nothing is left to reach.

    Args:
        labels: (z, y, x) with a margin of one voxel of zeros on all sides.
        states: (z, y, x) without it, from `mark_pending`. Afterwards `FRONT` where the step number `steps` labelled
            a voxel: from there, growth would go on.
        steps: at least 1.

    """
    waiting = _pending_per_row(states)
    # Step of the last change of a row; with a margin, as the labels.
    changed = np.zeros((waiting.shape[0] + 2, waiting.shape[1] + 2), np.int32)
    found = np.zeros((2, *states.shape[1:]), np.uint32)
    for step in range(1, steps + 1):
        after = FRONT if step == steps else SETTLED
        if not _step(labels, states, step, after, waiting, changed, found):
            return


@njit(nogil=True, cache=True)
def _mark(states: States, labels: Labels) -> None:
    for z in range(states.shape[0]):
        for y in range(states.shape[1]):
            row, above = states[z, y], labels[z + 1, y + 1]
            for x in range(row.shape[0]):
                row[x] = PENDING if (row[x] != 0) & (above[x + 1] == 0) else SETTLED


@njit(nogil=True, cache=True)
def _pending_per_row(states: States) -> Rows:
    waiting = np.zeros(states.shape[:2], np.int32)
    for z in range(states.shape[0]):
        for y in range(states.shape[1]):
            row = states[z, y]
            count = 0
            for x in range(row.shape[0]):
                count += row[x] == PENDING
            waiting[z, y] = count
    return waiting


@njit(nogil=True, cache=True)
def _step(labels: Labels, states: States, step: int, after: int, waiting: Rows, changed: Rows, found: Labels) -> bool:
    """One step; True when it labelled a voxel.

    A plane's labels are kept in `found` until the next plane has been looked at, which must see the step before.
    """
    depth, height, width = states.shape
    best = np.empty(width + 2, np.uint32)
    counts = np.zeros((2, height), np.int64)
    progress = False
    for z in range(depth):
        for y in range(height):
            counts[z % 2, y] = 0
            if waiting[z, y] > 0 and _beside(changed, z, y, step - 1):
                counts[z % 2, y] = _reach_row(labels, z, y, states[z, y], best, found[z % 2, y])
        for plane in range(max(z - 1, 0), depth if z == depth - 1 else z):
            for y in range(height):
                if counts[plane % 2, y] > 0:
                    _settle_row(found[plane % 2, y], after, labels[plane + 1, y + 1], states[plane, y])
                    waiting[plane, y] -= counts[plane % 2, y]
                    changed[plane + 1, y + 1] = step
                    progress = True
    return progress


@njit(nogil=True, cache=True)
def _beside(changed: Rows, z: int, y: int, step: int) -> bool:
    """True when a row, or one of the 8 beside it, changed in this step."""
    for i in range(z, z + 3):
        for j in range(y, y + 3):
            if changed[i, j] == step:
                return True
    return False


@njit(nogil=True, cache=True)
def _reach_row(labels: Labels, z: int, y: int, states: States, best: Labels, found: Labels) -> int:
    """Labels that reach the pending voxels of row (z, y) into `found`, 0 where none does; returns how many do.

    `labels` has the margin; `best` is room for a row of it.
    """
    best[:] = labels[z, y]
    for beside in range(1, 9):
        # A row of a C-contiguous array is contiguous to the compiler, a row of a view of 3 x 3 rows is not.
        other = labels[z + beside // 3, y + beside % 3]
        for x in range(best.shape[0]):
            best[x] = max(best[x], other[x])
    count = 0
    for x in range(states.shape[0]):
        label = max(best[x], best[x + 1], best[x + 2])
        label = label if states[x] == PENDING else np.uint32(0)
        found[x] = label
        count += label != 0
    return count


@njit(nogil=True, cache=True)
def _settle_row(found: Labels, after: int, labels: Labels, states: States) -> None:
    """Take over the labels found for a row; `labels` has the margin."""
    for x in range(found.shape[0]):
        if found[x] != 0:
            labels[x + 1] = found[x]
            states[x] = after
