"""Instance labels to border-core: what the network is trained to predict.

A particle's core is what an erosion by a ball leaves; the rest of the particle is its border, so that the cores of
touching particles are apart even though the particles are not. Eroding one particle at a time costs a crop and an
erosion per particle. Here the same answer comes from one squared distance per voxel, the distance to the nearest
voxel of *another* label: a ball of radius t around a voxel lies inside its particle exactly when that distance is
larger than t. The distance is separable (Saito and Toriwaki, Pattern Recognition 27(11):1551-1565, 1994), also
between labels, and only distances up to t matter, so three passes with a window of 2t + 1 voxels settle it:
linear in voxels, whatever the number of particles.

Outside the scan nothing is known, so the scan's edge makes no border: a particle that the edge cuts keeps its core
up to the edge.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.errors import InputError

BACKGROUND: Final = 0
CORE: Final = 1
BORDER: Final = 2

_MAX_THICKNESS: Final = 15  # (15 + 1) ** 2 still leaves room in the uint16 distances


def border_core(labels: npt.NDArray[np.integer], thickness: float) -> npt.NDArray[np.uint8]:
    """Return border-core classes of instance `labels`.

    Args:
        labels: (z, y, x) of any integer type; 0 is background, every other value is one particle.
        thickness: radius in voxels of the ball that erodes a particle to its core, 1 to 15. Fractions count: 1.5
            erodes by the neighbours across faces and edges, 2 by the next ones along the axes as well.

    Returns:
        (z, y, x) uint8: 0 background, 1 core, 2 border.

    Raises:
        InputError: when `labels` is not a 3-D integer array or `thickness` is out of range.

    Blocks of a larger volume give the volume's answer when they carry a halo of `thickness` voxels.

    """
    if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"labels of type {labels.dtype} with {labels.ndim} axes: targets need integers on 3 axes; "
            "give an instance label volume"
        )
    if not 1 <= thickness <= _MAX_THICKNESS:
        raise InputError(
            f"border thickness {thickness} voxels: the limit is 1 to {_MAX_THICKNESS}; choose a value in that range"
        )
    reach = int(thickness)
    distance = np.empty(labels.shape, np.uint16)
    classes = np.empty(labels.shape, np.uint8)
    labels = np.ascontiguousarray(labels)
    _along_x(labels, reach, distance)
    _along_y(labels, reach, distance)
    _along_z(labels, reach, thickness**2, distance, classes)
    return classes


@njit(nogil=True, cache=True)
def _along_x(labels: npt.NDArray[np.integer], reach: int, distance: npt.NDArray[np.uint16]) -> None:
    """Squared distance along x to the nearest voxel of another label; `(reach + 1) ** 2` when farther than `reach`."""
    depth, height, width = labels.shape
    far = reach + 1
    steps = np.empty(width, np.int64)
    for z in range(depth):
        for y in range(height):
            row = labels[z, y]
            step = far
            for x in range(width):
                step = 1 if x > 0 and row[x] != row[x - 1] else min(step + 1, far)
                steps[x] = step
            step = far
            for x in range(width - 1, -1, -1):
                step = 1 if x < width - 1 and row[x] != row[x + 1] else min(step + 1, far)
                nearest = min(step, steps[x])
                distance[z, y, x] = nearest * nearest


@njit(nogil=True, cache=True)
def _along_y(labels: npt.NDArray[np.integer], reach: int, distance: npt.NDArray[np.uint16]) -> None:
    """Extend `distance`, in place, from lines along x to planes (y, x)."""
    depth, height, width = labels.shape
    plane = np.empty((height, width), np.uint16)
    for z in range(depth):
        plane[:] = distance[z]
        for y in range(height):
            for step in range(1, reach + 1):
                _lower(labels[z], plane, distance[z, y], y, -step)
                _lower(labels[z], plane, distance[z, y], y, step)


@njit(nogil=True, cache=True)
def _along_z(
    labels: npt.NDArray[np.integer],
    reach: int,
    limit: float,
    distance: npt.NDArray[np.uint16],
    classes: npt.NDArray[np.uint8],
) -> None:
    """Finish the distances along z, plane by plane, and turn them into classes."""
    depth, height, width = labels.shape
    line = np.empty(width, np.uint16)
    for z in range(depth):
        for y in range(height):
            line[:] = distance[z, y]
            for step in range(1, reach + 1):
                _lower(labels[:, y], distance[:, y], line, z, -step)
                _lower(labels[:, y], distance[:, y], line, z, step)
            for x in range(width):
                if labels[z, y, x] == 0:
                    classes[z, y, x] = BACKGROUND
                else:
                    classes[z, y, x] = CORE if line[x] > limit else BORDER


@njit(nogil=True, cache=True, inline="always")
def _lower(
    labels: npt.NDArray[np.integer],
    known: npt.NDArray[np.uint16],
    line: npt.NDArray[np.uint16],
    at: int,
    step: int,
) -> None:
    """Lower `line`, the distances of row `at`, by what row `at + step` knows.

    A neighbour of the same label passes its own distance on; one of another label is itself the nearest. Looking
    past another label does no harm: what lies behind it is farther than it is.
    """
    other = at + step
    if other < 0 or other >= labels.shape[0]:
        return
    offset = step * step
    for x in range(line.shape[0]):
        reach = offset + known[other, x] if labels[other, x] == labels[at, x] else offset
        line[x] = min(line[x], reach)
