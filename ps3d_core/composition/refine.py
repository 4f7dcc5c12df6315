"""Phases of voxels such that the scan of them is the scan there is.

Where blur is wide, noise is strong, or an inclusion is small, a voxel's own grey value does not tell its phase. But
what all phases together look like when they are scanned is known (`scene`), and has to be what was seen. So, from the
phases that voxels have by themselves, each voxel goes to another phase where that lessens

    sum over voxels (seen - scanned)^2 / (2 variance)  +  beta * (pairs of neighbours, of 26, of different phases)

(iterated conditional modes, Besag, J. R. Stat. Soc. B 48:259, 1986). The variance is that of the noise,
and of what whole voxels cannot show. A phase whose grey value lies between two others spreads only from where it is.

What the scan needs beside the phases is fitted to it before, by least squares at the surface of the particle: the
blur where it is not given, how far the surface is from where the labels have it, and grey values of the phases where
voxels of one alone are seen. A blurred image changes with the variance of the blur as half its Laplacian, and with a
move of the surface as its slope across that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.materials import Materials
from ps3d_core.composition.scene import Floats, States, blurred, filled, scanned, taps_of, twice

Labels = npt.NDArray[np.uint32]
Classes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

_STEPS: Final = (3, 1)
"""Of least squares, before voxels change for the first and for the second time."""
_SWEEPS: Final = 3
_BETA: Final = 0.15
_ROUGH: Final = 0.1
"""Standard deviation of what whole voxels cannot show, as a share of the least contrast of two phases."""
_PURE: Final = 0.8
_PRIOR: Final = 3.0
"""Voxels that the grey value of a phase as it was given counts as much as."""
_MOST_SHIFT: Final = 0.7
_VARIANCES: Final = (0.16, 6.0)
_VARIANCE_STEP: Final = 0.8
_OWN: Final = 1
_BESIDE: Final = 2


class _Seen(NamedTuple):
    """A particle and the scan of it: what does not change.

    rest: (k, z, y, x) grey values above the background, NaN where they are not known.
    near: (z, y, x) means over 27 labels; wide: the same over 125.
    free: (z, y, x) `_OWN` for voxels of the particle with a phase, `_BESIDE` for background at them, 0 elsewhere.
    others: (z, y, x) whether another particle is there.
    weight: (k,) one over the variance.
    between: (1 + phases,) whether the grey values of a phase lie between those of two others.
    """

    rest: Floats
    near: Floats
    wide: Floats
    free: States
    others: Flags
    weight: Floats
    between: Flags


@njit(nogil=True, cache=True)
def refine(labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes) -> None:
    """Change the phases of a particle's voxels in `classes`, so that the scan of them is `grey`.

    All arrays hold the particle's box and what is around it. `classes` are numbers of phases, others below 0 or above
    all phases. Nothing changes where the background is not known, or the grey values of the phases.
    """
    values, weight = _values_of(m)
    if not weight.any():
        return
    states, free = _states_of(labels, grey, label, m, classes)
    solid = (labels != 0).astype(np.float32)
    _beyond_the_scan(grey, states, solid)
    near = _means(solid)
    _beside(near, labels, label, states, free)
    rest = np.empty_like(grey)
    for k in range(grey.shape[0]):
        for i in range(states.size):
            value = grey[k].flat[i]
            rest[k].flat[i] = value - m.background[k] if weight[k] and np.isfinite(value) else np.float32(np.nan)
    seen = _Seen(rest, near, _means(near), free, (labels != 0) & (labels != label), weight, _between(values))
    shift, variance = 0.0, 1.0 if np.isnan(m.blur) else float(m.blur) ** 2
    for steps in _STEPS:
        _fit_values(seen, states, values, m, (shift, variance))
        for _ in range(steps):
            shift, variance = _step(seen, states, values, (shift, variance), bool(np.isnan(m.blur)))
        _relabel(seen, states, values, filled(near, shift), taps_of(variance))
    for i in range(states.size):
        if free.flat[i] == _OWN:
            classes.flat[i] = states.flat[i] - 1


@njit(nogil=True, cache=True)
def _values_of(m: Materials) -> tuple[Floats, Floats]:
    """Grey values (1 + phases, k) above the background, which is the first, and one over the variance (k,).

    Images where a grey value is not known, or all are one, weigh nothing.
    """
    phases, images = m.mean.shape
    values, weight = np.zeros((1 + phases, images), np.float32), np.zeros(images, np.float32)
    for k in range(images):
        span = np.float32(np.inf)
        for p in range(phases):
            values[p + 1, k] = m.mean[p, k] - m.background[k]
            for q in range(p):
                d = abs(m.mean[p, k] - m.mean[q, k])
                if d > 0:
                    span = min(span, d)
        if np.isnan(values[:, k]).any() or np.isinf(span):
            values[:, k] = 0
        else:
            weight[k] = 1 / (m.noise[k] ** 2 + (np.float32(_ROUGH) * span) ** 2)
    return values, weight


@njit(nogil=True, cache=True)
def _between(values: Floats) -> Flags:
    """Whether each material's grey values lie between those of two phases in some image: blur can feign it."""
    materials, images = values.shape
    out = np.zeros(materials, np.bool_)
    for p in range(1, materials):
        for k in range(images):
            out[p] |= values[1:, k].min() < values[p, k] < values[1:, k].max()
    return out


@njit(nogil=True, cache=True)
def _states_of(labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes) -> tuple[States, States]:
    """Materials of voxels, 0 for background, else one more than the phase; and which of them are free to change."""
    states, free = np.zeros(labels.shape, np.int8), np.zeros(labels.shape, np.int8)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                kind = classes[z, y, x]
                if labels[z, y, x] == label:
                    if 0 <= kind < m.mean.shape[0]:
                        states[z, y, x], free[z, y, x] = kind + 1, _OWN
                elif labels[z, y, x] != 0:
                    states[z, y, x] = 1 + _nearest(grey[:, z, y, x], m)
    return states, free


@njit(nogil=True, cache=True)
def _nearest(voxel: Floats, m: Materials) -> int:
    """The phase whose mean is nearest."""
    best, least = 0, np.float32(np.inf)
    for p in range(m.mean.shape[0]):
        off = np.float32(0)
        for k in range(voxel.size):
            if not np.isnan(m.mean[p, k]):
                off += m.weight[k] * (voxel[k] - m.mean[p, k]) ** 2
        if off < least:
            best, least = p, off
    return best


@njit(nogil=True, cache=True)
def _beyond_the_scan(grey: Floats, states: States, solid: Floats) -> None:
    """Continue materials where a face of the scan cuts a particle: beyond it grey values are those of the last."""
    for axis in range(3):
        n = states.shape[axis]
        for last, one, other in ((2, 1, 0), (n - 3, n - 2, n - 1)):
            if _alike(grey, axis, last, one) and _alike(grey, axis, last, other):
                for to in (one, other):
                    _copy(states, axis, last, to)
                    _copy(solid, axis, last, to)


@njit(nogil=True, cache=True)
def _alike(grey: Floats, axis: int, one: int, other: int) -> bool:
    if axis == 0:
        return bool((grey[:, one] == grey[:, other]).all())
    if axis == 1:
        return bool((grey[:, :, one] == grey[:, :, other]).all())
    return bool((grey[:, :, :, one] == grey[:, :, :, other]).all())


@njit(nogil=True, cache=True)
def _copy(values: npt.NDArray[np.generic], axis: int, one: int, other: int) -> None:
    if axis == 0:
        values[other] = values[one]
    elif axis == 1:
        values[:, other] = values[:, one]
    else:
        values[:, :, other] = values[:, :, one]


@njit(nogil=True, cache=True)
def _means(values: Floats) -> Floats:
    """Means over 27 voxels with binomial weights."""
    return blurred(values, np.array([0.25, 0.5, 0.25], np.float32))


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
                                free[z, y, x] = _BESIDE
                if states[z, y, x] == 0:
                    free[z, y, x] = 0


@njit(nogil=True, cache=True)
def _fit_values(seen: _Seen, states: States, values: Floats, m: Materials, surface: tuple[float, float]) -> None:
    """Set grey values of phases to those of the voxels that show one alone, or nearly so, within its interval."""
    fill, taps = filled(seen.near, surface[0]), taps_of(surface[1])
    whole = scanned(states, values, fill, taps)
    phases, images = m.mean.shape
    sharp = np.empty_like(fill)
    for p in range(phases):
        if not _is_there(states, seen.free, p + 1):
            continue
        for i in range(states.size):
            sharp.flat[i] = fill.flat[i] if states.flat[i] == p + 1 else np.float32(0)
        share = blurred(sharp, taps)
        for k in range(images):
            if seen.weight[k]:
                given = m.mean[p, k] - m.background[k]
                found = _value(seen.rest[k] - whole[k] + share * values[p + 1, k], share, seen.free, given)
                values[p + 1, k] = min(max(found, m.low[p, k] - m.background[k]), m.high[p, k] - m.background[k])


@njit(nogil=True, cache=True)
def _is_there(states: States, free: States, state: int) -> bool:
    return bool(((free == _OWN) & (states == state)).any())


@njit(nogil=True, cache=True)
def _value(own: Floats, share: Floats, free: States, given: np.float32) -> np.float32:
    """Grey value of a phase from what is left of voxels without all others, and its share in them."""
    total, whole = float(_PRIOR * given), _PRIOR
    for i in range(own.size):
        if free.flat[i] == _OWN and share.flat[i] > _PURE and not np.isnan(own.flat[i]):
            total += own.flat[i]
            whole += share.flat[i]
    return np.float32(total / whole)


@njit(nogil=True, cache=True)
def _step(
    seen: _Seen, states: States, values: Floats, surface: tuple[float, float], blur_too: bool
) -> tuple[float, float]:
    """Move of the surface and variance of the blur after one step of least squares."""
    shift, variance = surface
    scan = scanned(states, values, filled(seen.near, shift), taps_of(variance))
    sums = np.zeros(5, np.float64)
    for k in range(scan.shape[0]):
        if seen.weight[k]:
            _add_products(seen, scan[k], k, sums)
    aa, ab, bb, ar, br = sums
    if not blur_too:
        return _within(shift + ar / max(aa, 1e-30), -_MOST_SHIFT, _MOST_SHIFT), variance
    least = aa * bb - ab * ab
    if least <= 1e-12 * aa * bb:
        return shift, variance
    wider = _within((aa * br - ab * ar) / least, -_VARIANCE_STEP, _VARIANCE_STEP)
    return (
        _within(shift + (bb * ar - ab * br) / least, -_MOST_SHIFT, _MOST_SHIFT),
        _within(variance + wider, _VARIANCES[0], _VARIANCES[1]),
    )


@njit(nogil=True, cache=True)
def _add_products(seen: _Seen, scan: Floats, k: int, sums: Doubles) -> None:
    """Add products of how the scan changes with the surface, with the blur, and of what it lacks, at the surface."""
    nz, ny, nx = scan.shape
    near, half = seen.wide, np.float32(0.5)
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                lacks = seen.rest[k, z, y, x] - scan[z, y, x]
                if not 0 < near[z, y, x] < 1 or seen.others[z, y, x] or np.isnan(lacks):
                    continue
                down, up = scan[z - 1, y, x], scan[z + 1, y, x]
                front, back = scan[z, y - 1, x], scan[z, y + 1, x]
                left, right = scan[z, y, x - 1], scan[z, y, x + 1]
                blur = half * (down + up + front + back + left + right - np.float32(6) * scan[z, y, x])
                az, ay = near[z + 1, y, x] - near[z - 1, y, x], near[z, y + 1, x] - near[z, y - 1, x]
                ax = near[z, y, x + 1] - near[z, y, x - 1]
                length = max(np.sqrt(az * az + ay * ay + ax * ax), np.float32(1e-6))
                move = half * ((up - down) * az + (back - front) * ay + (right - left) * ax) / length
                w = seen.weight[k]
                sums[0] += w * move * move
                sums[1] += w * move * blur
                sums[2] += w * blur * blur
                sums[3] += w * move * lacks
                sums[4] += w * blur * lacks


@njit(nogil=True, cache=True)
def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@njit(nogil=True, cache=True)
def _relabel(seen: _Seen, states: States, values: Floats, fill: Floats, taps: Floats) -> None:
    """Change phases of voxels, one after another, as long as that lessens what the scan of them lacks."""
    lacks = scanned(states, values, fill, taps)
    for k in range(lacks.shape[0]):
        for i in range(states.size):
            rest = seen.rest[k].flat[i]
            lacks[k].flat[i] = np.float32(0) if np.isnan(rest) else rest - lacks[k].flat[i]
        lacks[k] = blurred(lacks[k], taps)
    reach = taps.size // 2
    both = twice(taps)[reach : 3 * reach + 1].copy()
    waiting = seen.free > 0
    beside = np.zeros(values.shape[0], np.int64)
    nz, ny, nx = states.shape
    for _ in range(_SWEEPS):
        changed = False
        for z in range(1, nz - 1):
            for y in range(1, ny - 1):
                for x in range(1, nx - 1):
                    if waiting[z, y, x]:
                        at = (z, y, x)
                        best = _best(seen, states, values, lacks, at, fill[at], both[reach], beside)
                        waiting[at] = beside.sum() > beside[states[at]]
                        if best != states[at]:
                            _change(seen, states, values, lacks, at, fill[at], both, best, waiting)
                            changed = True
        if not changed:
            return


@njit(nogil=True, cache=True)
def _best(
    seen: _Seen,
    states: States,
    values: Floats,
    lacks: Floats,
    at: tuple[int, int, int],
    fill: np.float32,
    peak: np.float32,
    beside: npt.NDArray[np.int64],
) -> int:
    """The material that fits best in a voxel; `beside` gets the numbers of neighbours of each material.

    One between others is believed only beside where it is already.
    """
    beside[:] = 0
    for a in range(at[0] - 1, at[0] + 2):
        for b in range(at[1] - 1, at[1] + 2):
            for c in range(at[2] - 1, at[2] + 2):
                if seen.free[a, b, c]:
                    beside[states[a, b, c]] += 1
    now = int(states[at])
    best, least = now, 0.0
    for other in range(1, beside.size):
        if other == now or (beside[other] == 0 and seen.between[other]):
            continue
        more = _BETA * (beside[now] - 1 - beside[other])
        for k in range(values.shape[1]):
            d = (values[other, k] - values[now, k]) * fill
            more += 0.5 * seen.weight[k] * d * (d * peak**3 - 2 * lacks[k, at[0], at[1], at[2]])
        if more < least:
            best, least = other, more
    return best


@njit(nogil=True, cache=True)
def _change(
    seen: _Seen,
    states: States,
    values: Floats,
    lacks: Floats,
    at: tuple[int, int, int],
    fill: np.float32,
    both: Floats,
    best: int,
    waiting: Flags,
) -> None:
    """Give a voxel another material, and take what that adds, blurred twice, off what the scan lacks."""
    z, y, x = at
    reach = both.size // 2
    nz, ny, nx = states.shape
    now = states[at]
    for k in range(values.shape[1]):
        d = (values[best, k] - values[now, k]) * fill
        if d == 0:
            continue
        for a in range(max(0, z - reach), min(nz, z + reach + 1)):
            for b in range(max(0, y - reach), min(ny, y + reach + 1)):
                w = d * both[a - z + reach] * both[b - y + reach]
                for c in range(max(0, x - reach), min(nx, x + reach + 1)):
                    lacks[k, a, b, c] -= w * both[c - x + reach]
    states[at] = best
    for a in range(z - 1, z + 2):
        for b in range(y - 1, y + 2):
            for c in range(x - 1, x + 2):
                waiting[a, b, c] = seen.free[a, b, c] > 0
