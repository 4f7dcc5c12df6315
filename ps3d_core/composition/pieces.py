"""Shares, exposed surface and inclusions of the phases of one particle, from the classes of its voxels."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.classify import OUTSIDE, PAD, VOID, Classes, Floats, Labels, classes_of
from ps3d_core.composition.materials import Materials

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_VOXELS: Final = 8
"""Smaller pieces are no inclusions: that is less than two voxels across."""


def compositions(
    labels: Labels,
    grey: Floats,
    ids: Labels,
    low: npt.NDArray[np.int32],
    high: npt.NDArray[np.int32],
    given: Materials,
    moves: Integers,
    areas: Doubles,
) -> tuple[Doubles, Doubles, Integers]:
    """Return shares, exposed shares and numbers of inclusions, (n, phases) each, of the particles of a cutout.

    `moves` (13, 3) are steps to neighbours, and `areas` (13,) the area that a crossing along each stands for.
    """
    phases = given.mean.shape[0]
    shares = np.empty((ids.size, phases), np.float64)
    exposed = np.empty((ids.size, phases), np.float64)
    inclusions = np.zeros((ids.size, phases), np.int64)
    for i in range(ids.size):
        z0, y0, x0 = low[i, 0] - PAD, low[i, 1] - PAD, low[i, 2] - PAD
        z1, y1, x1 = high[i, 0] + PAD + 1, high[i, 1] + PAD + 1, high[i, 2] + PAD + 1
        around, values = labels[z0:z1, y0:y1, x0:x1].copy(), grey[:, z0:z1, y0:y1, x0:x1].copy()
        if not _is_known(around, values, ids[i]):
            shares[i] = exposed[i] = np.nan
            continue
        classes = classes_of(around, values, ids[i], given)
        _shares(classes, shares[i])
        _exposed(around, classes, moves, areas, exposed[i])
        _inclusions(classes, inclusions[i])
    return shares, exposed, inclusions


@njit(nogil=True, cache=True)
def _is_known(around: Labels, values: Floats, label: np.uint32) -> bool:
    """Whether all grey values of a particle are finite."""
    own, grey = around.reshape(-1), values.reshape(values.shape[0], around.size)
    for k in range(grey.shape[0]):
        for i in range(own.size):
            if own[i] == label and not np.isfinite(grey[k, i]):
                return False
    return True


@njit(nogil=True, cache=True)
def _shares(classes: Classes, shares: Doubles) -> None:
    shares[:] = 0
    kinds = classes.reshape(-1)
    for i in range(kinds.size):
        if 0 <= kinds[i] < VOID:
            shares[kinds[i]] += 1
    shares /= shares.sum() if shares.any() else np.nan


@njit(nogil=True, cache=True)
def _exposed(around: Labels, classes: Classes, moves: Integers, areas: Doubles, exposed: Doubles) -> None:
    """Area of crossings from each phase to background, both ways along 13 directions, as shares of all of them."""
    exposed[:] = 0
    nz, ny, nx = classes.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                kind = classes[z, y, x]
                if kind < 0 or kind >= VOID:
                    continue
                for k in range(moves.shape[0]):
                    dz, dy, dx = moves[k]
                    for sign in (-1, 1):
                        if around[z + PAD + sign * dz, y + PAD + sign * dy, x + PAD + sign * dx] == 0:
                            exposed[kind] += areas[k]
    exposed /= exposed.sum() if exposed.any() else np.nan


@njit(nogil=True, cache=True)
def _inclusions(classes: Classes, inclusions: Integers) -> None:
    """Count pieces (voxels of one phase, joined by faces) that no face of theirs connects with the outside."""
    seen = np.zeros(classes.shape, np.bool_)
    waiting = np.empty((classes.size, 3), np.int32)
    nz, ny, nx = classes.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                kind = classes[z, y, x]
                if kind < 0 or kind >= VOID or seen[z, y, x]:
                    continue
                size, enclosed = _flood(classes, seen, waiting, (z, y, x))
                if enclosed and size >= LEAST_VOXELS:
                    inclusions[kind] += 1


@njit(nogil=True, cache=True)
def _flood(
    classes: Classes,
    seen: npt.NDArray[np.bool_],
    waiting: npt.NDArray[np.int32],
    start: tuple[int, int, int],
) -> tuple[int, bool]:
    """Number of voxels of the piece that a voxel is in, and whether nothing of it lies at the particle's surface."""
    kind = classes[start]
    seen[start] = True
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = start
    head, n, enclosed = 0, 1, True
    while head < n:
        z, y, x = waiting[head]
        head += 1
        for axis in range(3):
            for sign in (-1, 1):
                a, b, c = z, y, x
                if axis == 0:
                    a += sign
                elif axis == 1:
                    b += sign
                else:
                    c += sign
                if not _is_own(classes, a, b, c):
                    enclosed = False
                elif classes[a, b, c] == kind and not seen[a, b, c]:
                    seen[a, b, c] = True
                    waiting[n, 0], waiting[n, 1], waiting[n, 2] = a, b, c
                    n += 1
    return n, enclosed


@njit(nogil=True, cache=True, inline="always")
def _is_own(classes: Classes, z: int, y: int, x: int) -> bool:
    nz, ny, nx = classes.shape
    inside = 0 <= z < nz and 0 <= y < ny and 0 <= x < nx
    return inside and bool(classes[z, y, x] != OUTSIDE)
