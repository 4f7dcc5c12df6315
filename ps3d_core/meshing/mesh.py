"""The surface of one particle as a closed mesh that holds the volume of its voxels.

Its voxels, 1 in a field of 0, are smoothed by a Gaussian, and marching cubes (Lewiner et al., Journal of Graphics Tools
8:1-15, 2003; scikit-image) draw the surface on which the field has one level. Smoothing takes from what is convex and
thin: so the level is the one whose surface encloses as much as the voxels do, found by false position. Beyond the box
of the particle the field is 0, whatever lies there, faces of the scan among it: every surface is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

Floats = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

SMOOTHING: Final = 0.8
"""Standard deviation of the Gaussian, voxels, where none is chosen: steps between slices of voxels are gone."""
TRUNCATED: Final = 4.0
"""Standard deviations at which the Gaussian ends."""
TOLERANCE: Final = 0.002
"""Of the volume, as a share of it."""
MOST_LEVELS: Final = 24
"""That are tried."""
APART: Final = 2e-3
"""Share of the field's range by which values keep off the level: triangles have no sides of no length."""


class Mesh(NamedTuple):
    """Triangles around one particle.

    vertices: (n, 3) float64, mm, axes x, y, z, from the corner of the box that the particle was cut out of.
    faces: (m, 3) int32, rows of `vertices`, counter-clockwise seen from outside.
    corner: (x, y, z) of that corner in the scanner's frame, mm.
    label: of the particle.
    """

    vertices: Floats
    faces: npt.NDArray[np.int32]
    corner: tuple[float, float, float]
    label: int

    @property
    def placed(self) -> Floats:
        """Vertices (n, 3) in the scanner's frame, x, y, z in mm."""
        return np.asarray(self.vertices + np.array(self.corner))

    @property
    def volume(self) -> float:
        """Volume inside, mm3."""
        return enclosed(self.vertices, self.faces)


class Surface(NamedTuple):
    """Triangles in voxels: vertices (n, 3) float64 (z, y, x), and faces (m, 3) int32."""

    vertices: Floats
    faces: npt.NDArray[np.int32]


def surface_of(voxels: Flags, volume: float, smoothing: float = SMOOTHING) -> Surface:
    """Return the closed surface of the voxels that are set, at least one, in a box (z, y, x) around them.

    Args:
        voxels: bool (z, y, x).
        volume: that the surface has to enclose, voxels.
        smoothing: standard deviation of the Gaussian, voxels; 0 keeps the steps between voxels, but for their edges.

    Returns:
        The surface; the centre of the box's first voxel is at 0.

    """
    margin = int(TRUNCATED * smoothing + 0.5) + 1
    field = np.pad(voxels.astype(np.float32), margin)
    if smoothing > 0:
        gaussian_filter(field, smoothing, output=field, mode="constant", truncate=TRUNCATED)
    surface = _holding(field, volume)
    return Surface(surface.vertices - margin, surface.faces)


def enclosed(vertices: Floats, faces: npt.NDArray[Any]) -> float:
    """Return the volume inside a closed surface, positive where its faces are counter-clockwise seen from outside.

    It is the sum of the tetrahedra from one point to all triangles, with their sign (divergence theorem).
    """
    a, b, c = (vertices[faces[:, corner]] - vertices[0] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _holding(field: Field, volume: float) -> Surface:
    """The surface of one level of a field that encloses a volume; the last difference is scaled away."""
    top = float(field.max())
    found: list[Surface] = []

    def excess(level: float) -> float:
        found.append(_at_level(field, level, top))
        return _enclosed_by(found[-1]) / volume - 1

    def next_level(level: float, value: float) -> float:
        # As many voxels more or fewer as are missing, or too many.
        count = int(np.count_nonzero(field > level))
        return _level_of(field, count - value * volume)

    first = min(max(_level_of(field, volume), 0.05 * top), 0.5 if top > 0.5 else 0.9 * top)
    off = _root(excess, next_level, first, top)
    surface = found[-1]
    if abs(off) <= TOLERANCE:
        return surface
    middle = surface.vertices.mean(axis=0)
    return Surface(middle + (surface.vertices - middle) / np.cbrt(1 + off), surface.faces)


def _level_of(field: Field, count: float) -> float:
    """The level that so many voxels exceed."""
    place = field.size - 1 - min(max(round(count), 1), field.size - 1)
    return float(np.partition(field, place, axis=None)[place])


def _root(
    excess: Callable[[float], float], next_level: Callable[[float, float], float], level: float, top: float
) -> float:
    """Try levels of a falling function until it is 0 within `TOLERANCE`; return its value at the last one.

    `next_level` proposes one by the last one and its value. Where that does not do twice, false position goes on.
    """
    low, high = (2 * APART * top, 1.0), ((1 - 2 * APART) * top, -1.0)
    value, side = excess(level), 0
    for number in range(MOST_LEVELS):
        if abs(value) <= TOLERANCE:
            break
        # Illinois: an end that stays twice counts half, so that both move.
        if value > 0:
            low, high = (level, value), (high[0], high[1] / 2 if side > 0 else high[1])
        else:
            high, low = (level, value), (low[0], low[1] / 2 if side < 0 else low[1])
        side = 1 if value > 0 else -1
        level = next_level(level, value) if number < 2 else 0.0
        if not low[0] < level < high[0]:
            level = low[0] + (high[0] - low[0]) * low[1] / (low[1] - high[1])
        value = excess(level)
    return value


def _at_level(field: Field, level: float, top: float) -> Surface:
    apart = np.float32(APART * top)
    near = np.abs(field - np.float32(level)) < apart
    clear = np.where(near, np.where(field > level, level + apart, level - apart), field).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(clear, level)  # type: ignore[no-untyped-call]
    return Surface(vertices.astype(np.float64), faces.astype(np.int32))


def _enclosed_by(surface: Surface) -> float:
    return abs(enclosed(*surface))
