"""A particle as it was scanned, and what is known of it: all that the fit and the change of phases only read."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.materials import Materials
from ps3d_core.composition.scene import Floats, States, blurred

Labels = npt.NDArray[np.uint32]
Classes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

OWN: Final = 1
"""A voxel of the particle that has a phase."""
BESIDE: Final = 2
"""A voxel of background at one of the particle."""
_ROUGH: Final = 0.1
"""Standard deviation of what whole voxels cannot show, as a share of the least contrast of two phases."""
_LEAST: Final = 1e-30
"""Smallest variance of grey values, and one over the largest: what single precision holds, with some to spare."""
_BINOMIAL: Final = np.array([0.25, 0.5, 0.25], np.float32)


class Observed(NamedTuple):
    """A particle and the scan of it: what does not change.

    rest: (k, z, y, x) grey values above the background, NaN where they are not known.
    near: (z, y, x) means over 27 labels; wide: the same over 125.
    free: (z, y, x) `OWN` for voxels of the particle with a phase, `BESIDE` for background at them, 0 elsewhere.
    others: (z, y, x) whether another particle is there.
    values: (1 + phases, k) grey values of the phases above the background, which is the first, as they are given.
    weight: (k,) one over the variance of the noise, 0 for images that tell nothing.
    between: (1 + phases,) whether the grey values of a phase lie between those of two others.
    """

    rest: Floats
    near: Floats
    wide: Floats
    free: States
    others: Flags
    values: Floats
    weight: Floats
    between: Flags


def observed(labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes) -> tuple[Observed, States]:
    """Return what does not change of a particle and its scan, and the materials (z, y, x) that voxels are of at first.

    `labels` (z, y, x) and `grey` (k, z, y, x) hold the particle's box and what is around it; `classes` (z, y, x) are
    numbers of phases, others below 0 or above all phases. Materials are one more than the phase, 0 for background.
    """
    values, weight = _values(m)
    states, free, rest = _states_of(labels, grey, label, m, classes, weight)
    for k in range(len(weight)):
        if not _fit_single_precision(rest[k], values[:, k], float(weight[k])):
            rest[k], values[:, k], weight[k] = np.nan, 0, 0
    solid = (labels != 0).astype(np.float32)
    images, nz, ny, nx = grey.shape
    for before, n, after in ((1, nz, ny * nx), (nz, ny, nx), (nz * ny, nx, 1)):
        _beyond_the_scan(
            grey.reshape(images * before, n, after), states.reshape(before, n, after), solid.reshape(before, n, after)
        )
    near = _means(solid)
    _beside(near, labels, label, states, free)
    others = (labels != 0) & (labels != label)
    return Observed(rest, near, _means(near), free, others, values, weight, _between(values)), states


def _fit_single_precision(rest: Floats, values: Floats, weight: float) -> bool:
    """Whether squares of grey values, in units of the noise, are finite numbers, with some to spare."""
    largest = max(float(np.abs(rest).max(initial=0, where=~np.isnan(rest))), float(np.abs(values).max()))
    return weight * largest**2 < 1 / _LEAST


def _means(values: Floats) -> Floats:
    """Means over 27 voxels with binomial weights."""
    return blurred(values, _BINOMIAL)


def _values(m: Materials) -> tuple[Floats, Floats]:
    """Grey values (1 + phases, k) above the background, which is the first, and one over the variance (k,).

    Images where a grey value is not known, or all are one, weigh nothing.
    """
    phases, images = m.mean.shape
    values, weight = np.zeros((1 + phases, images), np.float32), np.zeros(images, np.float32)
    for k in range(images):
        apart = np.abs(np.subtract.outer(m.mean[:, k], m.mean[:, k]))
        span = float(apart[apart > 0].min(initial=np.inf))
        variance = float(m.noise[k]) ** 2 + (_ROUGH * span) ** 2
        with np.errstate(all="ignore"):
            above = m.mean[:, k] - m.background[k]
        if np.isfinite(above).all() and _LEAST < variance < 1 / _LEAST:
            values[1:, k], weight[k] = above, 1 / variance
    return values, weight


def _between(values: Floats) -> Flags:
    """Whether each material's grey values lie between those of two phases in some image: blur can feign it."""
    out = np.zeros(len(values), np.bool_)
    for p in range(1, len(values)):
        below, above = (values[1:] < values[p]).any(axis=0), (values[1:] > values[p]).any(axis=0)
        out[p] = (below & above).any()
    return out


@njit(nogil=True, cache=True)
def _states_of(
    labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes, weight: Floats
) -> tuple[States, States, Floats]:
    """Materials of voxels, 0 for background, else one more than the phase; which of them are free; grey values."""
    states, free = np.zeros(labels.shape, np.int8), np.zeros(labels.shape, np.int8)
    rest = np.full(grey.shape, np.nan, np.float32)
    images, nz, ny, nx = grey.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                kind = classes[z, y, x]
                if labels[z, y, x] == label:
                    if 0 <= kind < m.mean.shape[0]:
                        states[z, y, x], free[z, y, x] = kind + 1, OWN
                elif labels[z, y, x] != 0:
                    states[z, y, x] = 1 + _nearest(grey, z, y, x, m)
                for k in range(images):
                    if weight[k] and np.isfinite(grey[k, z, y, x]):
                        rest[k, z, y, x] = grey[k, z, y, x] - m.background[k]
    return states, free, rest


@njit(nogil=True, cache=True)
def _nearest(grey: Floats, z: int, y: int, x: int, m: Materials) -> int:
    """The phase whose mean is nearest."""
    best, least = 0, np.float32(np.inf)
    for p in range(m.mean.shape[0]):
        off = np.float32(0)
        for k in range(grey.shape[0]):
            if not np.isnan(m.mean[p, k]):
                off += m.weight[k] * (grey[k, z, y, x] - m.mean[p, k]) ** 2
        if off < least:
            best, least = p, off
    return best


@njit(nogil=True, cache=True)
def _beyond_the_scan(grey: Floats, states: States, solid: Floats) -> None:
    """Continue materials where a face of the scan cuts a particle: beyond it grey values are those of the last.

    Faces are those of the middle axis; all images follow each other along the first.
    """
    outer, n, inner = grey.shape
    for last, one, other in ((2, 1, 0), (n - 3, n - 2, n - 1)):
        alike = True
        for a in range(outer):
            for b in range(inner):
                alike &= grey[a, last, b] == grey[a, one, b] and grey[a, last, b] == grey[a, other, b]
            if not alike:
                break
        if alike:
            for a in range(states.shape[0]):
                for b in range(inner):
                    states[a, one, b] = states[a, other, b] = states[a, last, b]
                    solid[a, one, b] = solid[a, other, b] = solid[a, last, b]


@njit(nogil=True, cache=True)
def _beside(near: Floats, labels: Labels, label: np.uint32, states: States, free: States) -> None:
    """Continue materials by one voxel into the background, where a surface that moves outwards needs them."""
    before = states.copy()
    nz, ny, nx = states.shape
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                if not 0 < near[z, y, x] < 1 or labels[z, y, x] != 0 or before[z, y, x] != 0:
                    continue
                least = 4
                for a in range(z - 1, z + 2):
                    for b in range(y - 1, y + 2):
                        for c in range(x - 1, x + 2):
                            off = abs(a - z) + abs(b - y) + abs(c - x)
                            if before[a, b, c] > 0 and off < least:
                                least, states[z, y, x] = off, before[a, b, c]
                            if labels[a, b, c] == label:
                                free[z, y, x] = BESIDE
                if states[z, y, x] == 0:
                    free[z, y, x] = 0
