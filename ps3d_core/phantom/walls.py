"""Walls of the container: a tube, flat walls, and the air beyond them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.region import wall_planes

F32 = npt.NDArray[np.float32]

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_NOWHERE = np.float32(-1e6)


class Walls(NamedTuple):
    """The walls as the kernel reads them.

    axis: (z, y, x) of a point on the tube's axis, voxels; tilt: shift of the axis per slice; inner: inner radius (0:
    no tube); planes: (n, 4) float64, inner faces of the flat walls; traits: (1 + n, 3) float32, thickness, grey and
    rim of the tube and of each flat wall.
    """

    axis: tuple[float, float, float]
    tilt: tuple[float, float]
    inner: np.float32
    planes: npt.NDArray[np.float64]
    traits: F32


def make_walls(params: PhantomParams) -> Walls:
    """Return the walls of a phantom."""
    tube = params.tube
    traits = np.zeros((1 + len(params.walls), 3), np.float32)
    for row, wall in enumerate((tube, *params.walls)):
        if wall is not None:
            traits[row] = wall.wall_voxels, wall.grey, wall.rim
    return Walls(
        axis=(params.centre[0], *params.tube_axis),
        tilt=tube.tilt if tube else (0.0, 0.0),
        inner=np.float32(tube.radius_voxels if tube else 0.0),
        planes=wall_planes(params),
        traits=traits,
    )


@njit(nogil=True, cache=True)
def in_wall(walls: Walls, z: int, y: int, x: int, grey: np.float32, air: np.float32) -> tuple[np.float32, np.float32]:
    """Return the signed distance beyond the walls' inner faces, and the grey value there where `grey` is inside."""
    deepest, outer, row = _NOWHERE, _NOWHERE, 0
    if walls.inner > _ZERO:
        dy = y - walls.axis[1] - walls.tilt[0] * (z - walls.axis[0])
        dx = x - walls.axis[2] - walls.tilt[1] * (z - walls.axis[0])
        along = dy * walls.tilt[0] + dx * walls.tilt[1]
        square = dy * dy + dx * dx - along * along / (1.0 + walls.tilt[0] ** 2 + walls.tilt[1] ** 2)
        deepest = np.float32(np.sqrt(max(square, 0.0))) - walls.inner
        outer = _HALF + deepest - walls.traits[0, 0]
    for k in range(len(walls.planes)):
        plane = walls.planes[k]
        beyond = np.float32(plane[0] * z + plane[1] * y + plane[2] * x - plane[3])
        outer = max(outer, _HALF + beyond - walls.traits[k + 1, 0])
        if beyond > deepest:
            deepest, row = beyond, k + 1
    if deepest > -_ONE:
        outside = min(max(outer, _ZERO), _ONE)
        solid = min(max(_HALF + deepest, _ZERO), _ONE) - outside
        grey = (_ONE - solid - outside) * grey + solid * _grey_of(walls.traits[row], deepest) + outside * air
    return deepest, grey


@njit(nogil=True, cache=True, inline="always")
def _grey_of(traits: F32, deep: np.float32) -> np.float32:
    """Grey value of a wall, `deep` voxels in: even up to its middle, from there to the outer face towards the rim's."""
    rise: np.float32 = max(np.float32(2.0) * deep / traits[0] - _ONE, _ZERO)
    grey: np.float32 = traits[1] + traits[2] * min(rise * rise, _ONE)
    return grey
