"""Signed distances to the nearest and second nearest particle, voxel by voxel.

A voxel belongs to the particle whose signed distance is smallest (most negative inside), which splits what is left of
an overlap along a true contact face. The second smallest distance says how far that face is away, and with it how
wide the gap at a contact is. Both are minima over particles taken in the order of ids, hence independent of the box.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.packing import Packing
from ps3d_core.phantom.shapes import MAX_PLANES, Bank

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

FAR = np.float32(4.0)  # voxels; larger distances are not kept


class Relief(NamedTuple):
    """Difference of surfaces from their prototypes: heights per particle, (n,) voxels, times fields on the box."""

    dent: F32
    rough: F32
    waves: F32
    grit: F32


class Nearest(NamedTuple):
    """Per voxel: distance to the nearest and second particle (voxels, at most FAR) and their rows (-1: none)."""

    distance: F32
    second: F32
    owner: I32
    other: I32


def stamp(packing: Packing, bank: Bank, relief: Relief, box: Box, rows: I64) -> Nearest:
    """Return the distances to the particles `rows` (ascending) on `box`, in voxels."""
    nearest = Nearest(
        np.full(box.shape, FAR, np.float32),
        np.full(box.shape, FAR, np.float32),
        np.full(box.shape, -1, np.int32),
        np.full(box.shape, -1, np.int32),
    )
    _stamp(packing, bank, relief, np.asarray(box.start, dtype=np.int64), rows, nearest)
    return nearest


class _Ball(NamedTuple):
    """The ball that a particle is cut from: unit coordinates are q + axis * offset along x."""

    turn: F64
    least: np.float32
    axis: F32
    inverse: F32


@njit(nogil=True, cache=True)
def _stamp(packing: Packing, bank: Bank, relief: Relief, start: I64, rows: I64, nearest: Nearest) -> None:
    distance, second, owner, other = nearest
    dent, rough, waves, grit = relief
    nz, ny, nx = distance.shape
    line = np.empty(nx, np.float32)
    facets = np.empty((MAX_PLANES, 4), np.float64)
    q = np.empty(3, np.float64)
    for p in rows:
        kind = packing.prototype[p]
        cuts = bank.cuts[kind]
        _turn_facets(bank.planes[kind], cuts, packing.frame[p], facets)
        ball, semi_axes = _ball(packing.frame[p], bank.ball[kind])
        margin = 1.05 * (FAR + abs(dent[p]) + abs(rough[p]))
        # |q| <= bound holds wherever the distance is at most FAR: the distance is at least (|q| - 1) * shortest axis
        bound = 1.0 + margin / semi_axes.min()
        size = bound * semi_axes.max()
        cz, cy, cx = packing.centre[p]
        blend = np.float32(bank.rounding[kind] * packing.radius[p])
        for z in range(max(0, int(np.ceil(cz - start[0] - size))), min(nz, int(np.floor(cz - start[0] + size)) + 1)):
            # offsets come from absolute coordinates, so they are the same numbers in every box
            oz = (z + start[0]) - cz
            for y in range(
                max(0, int(np.ceil(cy - start[1] - size))), min(ny, int(np.floor(cy - start[1] + size)) + 1)
            ):
                oy = (y + start[1]) - cy
                x0, x1 = _chord(ball.turn, oz, oy, bound, q)
                x0, x1 = max(0, int(np.floor(cx - start[2] + x0))), min(nx, int(np.ceil(cx - start[2] + x1)) + 1)
                if x1 <= x0:
                    continue
                _ball_distance(ball, q, start[2], cx, x0, x1, line)
                for k in range(cuts):
                    base = np.float32(facets[k, 0] * oz + facets[k, 1] * oy - facets[k, 3])
                    _cut(base, np.float32(facets[k, 2]), blend, start[2], cx, x0, x1, line)
                for x in range(x0, x1):
                    d = line[x] + dent[p] * waves[z, y, x] + rough[p] * grit[z, y, x]
                    _keep_nearest(distance, second, owner, other, (z, y, x), p, d)


@njit(nogil=True, cache=True, inline="always")
def _keep_nearest(
    distance: F32, second: F32, owner: I32, other: I32, voxel: tuple[int, int, int], p: int, d: np.float32
) -> None:
    """Take particle `p` at distance `d` in, if it is among the two nearest to a voxel."""
    if d < distance[voxel]:
        second[voxel] = distance[voxel]
        other[voxel] = owner[voxel]
        distance[voxel] = d
        owner[voxel] = p
    elif d < second[voxel]:
        second[voxel] = d
        other[voxel] = p


@njit(nogil=True, cache=True)
def _turn_facets(planes: F64, cuts: int, frame: F64, facets: F64) -> None:
    """Planes of a prototype in voxels around the particle's centre: unit normal and distance."""
    for k in range(cuts):
        norm = 0.0
        for i in range(3):
            g = planes[k, 0] * frame[0, i] + planes[k, 1] * frame[1, i] + planes[k, 2] * frame[2, i]
            facets[k, i] = g
            norm += g * g
        norm = np.sqrt(norm)
        for i in range(3):
            facets[k, i] /= norm
        facets[k, 3] = planes[k, 3] / norm


@njit(nogil=True, cache=True)
def _ball(frame: F64, radius: float) -> tuple[_Ball, F64]:
    """The stretched ball and its semi-axes in voxels."""
    semi_axes = np.empty(3, np.float64)
    axis, inverse = np.empty(3, np.float32), np.empty(3, np.float32)
    for i in range(3):
        semi_axes[i] = radius / np.sqrt(frame[i, 0] ** 2 + frame[i, 1] ** 2 + frame[i, 2] ** 2)
        inverse[i] = np.float32(1.0 / semi_axes[i])
        axis[i] = np.float32(frame[i, 2] * (1.0 / radius))
    return _Ball(frame * (1.0 / radius), inverse.min(), axis, inverse), semi_axes


@njit(nogil=True, cache=True)
def _chord(turn: F64, oz: float, oy: float, bound: float, q: F64) -> tuple[float, float]:
    """Offsets along x between which |q| <= bound (empty: the second is smaller); fills `q` at offset 0."""
    ab, bb, qq = 0.0, 0.0, 0.0
    for i in range(3):
        q[i] = turn[i, 0] * oz + turn[i, 1] * oy
        ab += q[i] * turn[i, 2]
        bb += turn[i, 2] * turn[i, 2]
        qq += q[i] * q[i]
    disc = ab * ab - bb * (qq - bound * bound)
    if disc <= 0.0:
        return 1e9, -1e9
    return (-ab - np.sqrt(disc)) / bb, (-ab + np.sqrt(disc)) / bb


@njit(nogil=True, cache=True)
def _ball_distance(ball: _Ball, q: F64, start: int, cx: float, x0: int, x1: int, line: F32) -> None:
    """First-order distance to the ellipsoid: value / |gradient| of its implicit function, times (|q| + 1) / 2."""
    g0, g1, g2 = np.float32(q[0]), np.float32(q[1]), np.float32(q[2])
    f0, f1, f2 = ball.axis
    i0, i1, i2 = ball.inverse
    for x in range(x0, x1):
        ox = np.float32((x + start) - cx)
        u0, u1, u2 = g0 + f0 * ox, g1 + f1 * ox, g2 + f2 * ox
        r = np.sqrt(u0 * u0 + u1 * u1 + u2 * u2 + np.float32(1e-12))
        u0, u1, u2 = u0 * i0, u1 * i1, u2 * i2
        # near the centre both vanish; their ratio is at most the longest semi-axis
        slope = max(np.sqrt(u0 * u0 + u1 * u1 + u2 * u2), r * ball.least)
        line[x] = r * (r - np.float32(1.0)) / slope


@njit(nogil=True, cache=True)
def _cut(
    base: np.float32, slant: np.float32, blend: np.float32, start: int, cx: float, x0: int, x1: int, line: F32
) -> None:
    """Cut by one plane: the larger distance, blended by a parabola where both are close, which rounds the edge."""
    for x in range(x0, x1):
        ox = np.float32((x + start) - cx)
        g = base + slant * ox
        h = max(blend - abs(line[x] - g), np.float32(0.0))
        line[x] = max(line[x], g) + h * h / (np.float32(4.0) * blend)
