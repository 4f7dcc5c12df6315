"""What a scanner adds that is not there: rings, arcs of rings, and streaks, as functions of absolute coordinates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.fields import hash3, key, unit
from ps3d_core.phantom.params import PhantomParams

F32 = npt.NDArray[np.float32]

_RING_SLICES = 24.0  # rings persist over about this many slices
_TURN = np.float32(4.0)  # a full turn, in the measure of `_turned`
_RAMP = np.float32(4.0)  # arcs begin and end over 1 / _RAMP of that measure
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


class Rings(NamedTuple):
    """Strength per slice of the box and lattice radius (no rings: one radius), spacing in voxels, and arcs.

    start: (radii,) where each arc begins; arc: its length, both in the measure of `_turned`.
    """

    strength: F32
    voxels: float
    start: F32
    arc: np.float32


def make_rings(params: PhantomParams, box: Box) -> Rings:
    """Return the rings of a box; most are weak, few are strong."""
    arc = _TURN * np.float32(params.ring_arc)
    if params.rings == 0.0:
        return Rings(np.zeros((box.shape[0], 1), np.float32), params.ring_voxels, np.zeros(1, np.float32), arc)
    ay, ax = params.axis
    dy = max(abs(box.start[1] - ay), abs(box.stop[1] - ay))
    dx = max(abs(box.start[2] - ax), abs(box.stop[2] - ax))
    radii = int(math.hypot(dy, dx) / params.ring_voxels) + 3
    table, start = np.empty((box.shape[0], radii), np.float32), np.empty(radii, np.float32)
    _fill_rings(key(params.seed, 23), box.start[0], table, start)
    return Rings(table * np.float32(params.rings), params.ring_voxels, start, arc)


@njit(nogil=True, cache=True)
def _fill_rings(seed: np.uint64, z0: int, table: F32, start: F32) -> None:
    for r in range(table.shape[1]):
        start[r] = _TURN * unit(hash3(seed, r, 0, 1))
    for z in range(table.shape[0]):
        position = (z + z0) / _RING_SLICES
        cell = int(np.floor(position))
        t = np.float32(position - cell)
        for r in range(table.shape[1]):
            a = np.float32(2.0) * unit(hash3(seed, cell, r, 0)) - np.float32(1.0)
            b = np.float32(2.0) * unit(hash3(seed, cell + 1, r, 0)) - np.float32(1.0)
            v = a + t * (b - a)
            table[z, r] = v * v * v


@njit(nogil=True, cache=True, inline="always")
def ring_at(rings: Rings, z: int, dy: float, dx: float) -> np.float32:
    """Return what a ring adds in slice `z` of its box, at an offset from the rotation axis."""
    place = np.sqrt(dy * dy + dx * dx) / rings.voxels
    i = int(place)
    f = np.float32(place - i)
    inner, outer = rings.strength[z, i], rings.strength[z, i + 1]
    if rings.arc < _TURN:
        turned = _turned(dy, dx)
        inner *= _on_arc(turned - rings.start[i], rings.arc)
        outer *= _on_arc(turned - rings.start[i + 1], rings.arc)
    value: np.float32 = inner + f * (outer - inner)
    return value


@njit(nogil=True, cache=True, inline="always")
def _on_arc(since: np.float32, arc: np.float32) -> np.float32:
    if since < _ZERO:
        since += _TURN
    return min(max(min(since, arc - since) * _RAMP, _ZERO), _ONE)


@njit(nogil=True, cache=True, inline="always")
def _turned(dy: float, dx: float) -> np.float32:
    """Direction of an offset, from 0 to 4: grows with the angle, as its sine and cosine over their sum do."""
    total = max(abs(dy) + abs(dx), 1e-9)
    along = dy / total
    if dx < 0.0:
        return np.float32(2.0 - along)
    return np.float32(along if dy >= 0.0 else 4.0 + along)


class Streaks(NamedTuple):
    """Places that streaks fan out from; n rows.

    centre: (n, 3) float64, voxels; slices: (n,) float32, half of the height; strength: (n,) float32; rays: (n,) int64,
    around a full turn; fade: distance at which they are half as strong, voxels.
    """

    seed: np.uint64
    centre: npt.NDArray[np.float64]
    slices: F32
    strength: F32
    rays: npt.NDArray[np.int64]
    fade: np.float32


def make_streaks(params: PhantomParams) -> Streaks:
    """Return the streaks of a phantom: fans from places in the volume, and all but parallel ones from outside."""
    n = params.streak_sources if params.streaks > 0 else 0
    rng = np.random.default_rng([params.seed, 24])
    shape = np.asarray(params.shape, dtype=np.float64)
    centre = rng.uniform(0.0, 1.0, (n, 3)) * shape
    centre[:, 1:] += rng.choice([0.0, -1.0, 1.0], (n, 2), p=[0.6, 0.2, 0.2]) * shape[1:]
    return Streaks(
        seed=key(params.seed, 25),
        centre=centre,
        slices=rng.uniform(0.5, 3.0, n).astype(np.float32) * np.float32(params.particle_size_voxels),
        strength=np.float32(params.streaks) * rng.uniform(0.4, 1.0, n).astype(np.float32),
        rays=rng.integers(16, 120, n),
        fade=np.float32(0.7 * shape[1:].max()),
    )


@njit(nogil=True, cache=True)
def streak_at(streaks: Streaks, z: int, y: int, x: int) -> np.float32:
    """Return what streaks add at a voxel."""
    total = _ZERO
    for k in range(len(streaks.rays)):
        height = _ONE - np.float32(abs(z - streaks.centre[k, 0])) / streaks.slices[k]
        if height <= _ZERO:
            continue
        dy, dx = y - streaks.centre[k, 1], x - streaks.centre[k, 2]
        place = _turned(dy, dx) / _TURN * np.float32(streaks.rays[k])
        ray = int(place)
        a = _ray(streaks, k, ray)
        v = a + (place - np.float32(ray)) * (_ray(streaks, k, ray + 1) - a)
        distance = np.float32(np.sqrt(dy * dy + dx * dx))
        near = min(distance / np.float32(3.0), _ONE)
        total += streaks.strength[k] * height * near * v * abs(v) / (_ONE + distance / streaks.fade)
    return total


@njit(nogil=True, cache=True, inline="always")
def _ray(streaks: Streaks, k: int, ray: int) -> np.float32:
    return _TWO * unit(hash3(streaks.seed, k, ray % streaks.rays[k], 0)) - _ONE
