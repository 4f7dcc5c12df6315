"""Size and shape of particles as wholes: diameters, hull, sieve size, inscribed ball, pores. See README.md.

One kernel goes from particle to particle of a cutout and never comes back to Python in between. A particle is
measured in the unit of the mean edge of its voxels and scaled at the end: values do not depend on the unit of length.
It is turned before and its directions are turned back: values do not depend on how the axes of the scan lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import StatedSpacing, mean_spacing, per_axis, relative_spacing
from ps3d_core.morphology.canonical import position_of, turned, turned_back
from ps3d_core.morphology.caps import SHARP, length_along, width_along
from ps3d_core.morphology.columns import COLUMNS, NAMES, POWERS
from ps3d_core.morphology.ferets import extreme_ferets, feret_along, largest_across
from ps3d_core.morphology.hull import hull_of
from ps3d_core.morphology.inscribed import inscribed_diameter
from ps3d_core.morphology.lattice import voxels_in
from ps3d_core.morphology.pores import closed_pores
from ps3d_core.morphology.rows import corner_candidates, rows_of
from ps3d_core.morphology.sieve import Lookup, lookup, sieve_size
from ps3d_core.morphology.solid import Floats, solid_of
from ps3d_core.particles.column import Column
from ps3d_core.particles.whole import Cutout, WholeMeasure

_COUNT: Final = len(NAMES)


@dataclass(frozen=True, slots=True)
class Morphology(WholeMeasure):
    """Size and shape of whole particles: the columns of `morphology.columns`."""

    version: int = 4
    bytes_per_voxel: float = 7.0
    """A mask and squared distances of one particle's box, which may be the cutout, and the rows of it."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the table that it makes."""
        return COLUMNS

    def values(self, cutout: Cutout) -> dict[str, npt.NDArray[Any]]:
        """Return the values (n,) of each column, in the order of the particles."""
        values = np.full((len(cutout.ids), _COUNT), np.nan)
        edges = np.array(relative_spacing(cutout.edges))
        _measure(cutout.labels, (cutout.ids, cutout.low, cutout.high), edges, _lookup(), values)
        values *= mean_spacing(cutout.edges) ** np.array(POWERS)
        return {c.name: _as(values[:, i], c.type) for i, c in enumerate(COLUMNS)}


def shape_of(mask: npt.NDArray[Any], spacing: StatedSpacing = 1.0) -> dict[str, float]:
    """Return size and shape of one particle by the names of their columns.

    `mask` is (z, y, x), other than 0 in the particle; all of it is one particle. `spacing` is the edge of a voxel, or
    its three edges (z, y, x); lengths come in its unit. Raise `InputError` for a mask of other
    axes or without voxels.
    """
    inside = np.asarray(mask) != 0
    if inside.ndim != 3 or not inside.any():
        raise InputError(f"mask of shape {inside.shape}: needs three axes and a voxel that is not 0; give one particle")
    filled = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    low = np.array([[each[0] for each in filled]], np.int32)
    high = np.array([[each[-1] for each in filled]], np.int32)
    cutout = Cutout(inside.astype(np.uint32), np.ones(1, np.uint32), low, high, per_axis(spacing))
    return {name: each[0].item() for name, each in Morphology().values(cutout).items()}


@cache
def _lookup() -> Lookup:
    return lookup()


def _as(values: Floats, type: str) -> npt.NDArray[Any]:
    return values.astype(np.int64) if type == "int64" else values.copy()


@njit(nogil=True, cache=True)
def _measure(labels: Any, particles: Any, edges: Floats, table: Lookup, values: Floats) -> None:
    ids, low, high = particles
    for i in range(len(ids)):
        rows = rows_of(labels, ids[i], low[i], high[i])
        position = position_of(labels, ids[i], low[i], rows, edges)
        along, across = _measure_one(turned(rows, position), edges[position.axes], table, values[i])
        _write_direction(turned_back(along, position), values[i, 1:4])
        _write_direction(turned_back(across, position), values[i, 7:10])
        values[i, 16], values[i, 17] = closed_pores(labels, low[i], rows)


@njit(nogil=True, cache=True)
def _measure_one(mask: Any, edges: Floats, table: Lookup, values: Floats) -> tuple[Floats, Floats]:
    """Write the lengths and ratios of a particle, all of its box, in the order of the columns.

    Return the directions (3,) of its largest and its smallest diameter. All is in the unit of the mean edge.
    """
    low, high = np.zeros(3, np.int64), np.array(mask.shape) - 1
    rows = rows_of(mask, 1, low, high)
    hull = hull_of(corner_candidates(rows))
    solid = solid_of(hull, edges)
    longest, along, least, across = extreme_ferets(solid)
    second, beside = largest_across(solid, along)
    third = feret_along(solid, np.cross(along, beside))
    hole, sides = sieve_size(solid, table, 1.0)
    if hull.rank == 3:
        # The search for the least finds where a solid happens to be too small: what voxels near its ends say is free of
        # that.
        thin = least
        least = max(least, width_along(rows, across, edges, thin))
        hole = max(hole, width_along(rows, sides[0], edges, thin), width_along(rows, sides[1], edges, thin))
        second = max(length_along(rows, beside, edges, thin), second - SHARP)
        longest = max(length_along(rows, along, edges, thin), longest - SHARP)
    # What follows from the definitions is kept by what is estimated, and by what is rounded.
    third = max(third, least)
    second = max(second, third)
    longest = max(longest, second)
    hole = max(hole, least)
    volume = voxels_in(hull)
    inscribed = inscribed_diameter(mask, 1, low, high, edges)
    values[0], values[4], values[5], values[6] = longest, second, third, least
    values[10] = min(hole, second)
    values[11], values[12] = volume, rows.voxels / volume
    values[13] = third / np.sqrt(longest * second)
    values[14] = rows.voxels / (np.pi / 6.0 * longest**3)
    values[15] = min(inscribed, least, np.cbrt(6.0 / np.pi * rows.voxels))
    return along, across


@njit(nogil=True, cache=True)
def _write_direction(vector: Floats, values: Floats) -> None:
    """Write a unit vector, of the two that a line has the one whose first component but 0 is above 0."""
    sign = 1.0
    for axis in range(2, -1, -1):
        if vector[axis] != 0:
            sign = np.sign(vector[axis])
    for axis in range(3):
        # Adding 0 turns -0.0 into 0.0.
        values[axis] = sign * vector[axis] + 0.0
