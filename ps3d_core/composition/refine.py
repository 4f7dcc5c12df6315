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
from ps3d_core.composition.scene import Floats, States, blurred, filled, mixed, scanned, shares_of, taps_of, twice

Labels = npt.NDArray[np.uint32]
Classes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

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
_BINOMIAL: Final = np.array([0.25, 0.5, 0.25], np.float32)


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


def refine(labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes) -> None:
    """Change the phases of a particle's voxels in `classes`, so that the scan of them is `grey`.

    All arrays hold the particle's box and what is around it. `classes` are numbers of phases, others below 0 or above
    all phases. Nothing changes where the background is not known, or the grey values of the phases, or where blur is
    told to be so little that each voxel shows what is in it.
    """
    values, weight = _values_of(m)
    if not weight.any() or m.blur**2 < _VARIANCES[0]:
        return
    seen, states = _seen(labels, grey, label, m, classes, weight, _between(values))
    # Kernels are called one by one: a compiler would take each in again for all that call it.
    shift, variance = 0.0, 1.0 if np.isnan(m.blur) else float(m.blur) ** 2
    fill, taps = filled(seen.near, shift), taps_of(variance)
    for steps in _STEPS:
        shares = shares_of(states, values.shape[0], fill, taps)
        _fit_values(seen, states, shares, values, m)
        scan = mixed(shares, values)
        for _ in range(steps):
            shift, variance = _step(seen, scan, shift, variance, bool(np.isnan(m.blur)))
            fill, taps = filled(seen.near, shift), taps_of(variance)
            scan = scanned(states, values, fill, taps)
        _relabel(seen, states, values, _lacks(seen, scan, taps), fill, twice(taps))
    own = seen.free == _OWN
    classes[own] = states[own] - 1


def _seen(
    labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes, weight: Floats, between: Flags
) -> tuple[_Seen, States]:
    """What does not change of a particle and its scan, and materials of voxels at first."""
    states, free, rest = _states_of(labels, grey, label, m, classes, weight)
    solid = (labels != 0).astype(np.float32)
    images, nz, ny, nx = grey.shape
    for before, n, after in ((1, nz, ny * nx), (nz, ny, nx), (nz * ny, nx, 1)):
        _beyond_the_scan(
            grey.reshape(images * before, n, after), states.reshape(before, n, after), solid.reshape(before, n, after)
        )
    near = _means(solid)
    _beside(near, labels, label, states, free)
    return _Seen(rest, near, _means(near), free, (labels != 0) & (labels != label), weight, between), states


def _means(values: Floats) -> Floats:
    """Means over 27 voxels with binomial weights."""
    return blurred(values, _BINOMIAL)


@njit(nogil=True, cache=True)
def _values_of(m: Materials) -> tuple[Floats, Floats]:
    """Grey values (1 + phases, k) above the background, which is the first, and one over the variance (k,).

    Images where a grey value is not known, or all are one, weigh nothing.
    """
    phases, images = m.mean.shape
    values, weight = np.zeros((1 + phases, images), np.float32), np.zeros(images, np.float32)
    for k in range(images):
        span, known = np.float32(np.inf), True
        for p in range(phases):
            values[p + 1, k] = m.mean[p, k] - m.background[k]
            known &= not np.isnan(values[p + 1, k])
            for q in range(p):
                d = abs(m.mean[p, k] - m.mean[q, k])
                if d > 0:
                    span = min(span, d)
        if not known or np.isinf(span):
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
            below = above = False
            for q in range(1, materials):
                below |= values[q, k] < values[p, k]
                above |= values[q, k] > values[p, k]
            out[p] |= below and above
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
                        states[z, y, x], free[z, y, x] = kind + 1, _OWN
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
                                free[z, y, x] = _BESIDE
                if states[z, y, x] == 0:
                    free[z, y, x] = 0


@njit(nogil=True, cache=True)
def _fit_values(seen: _Seen, states: States, shares: Floats, values: Floats, m: Materials) -> None:
    """Set grey values of phases to those of the voxels that show one alone, or nearly so, within its interval."""
    phases, images = m.mean.shape
    n = states.size
    kinds, free = states.reshape(-1), seen.free.reshape(-1)
    parts, rest, before = shares.reshape(1 + phases, n), seen.rest.reshape(images, n), values.copy()
    for p in range(1, 1 + phases):
        there = False
        for i in range(n):
            there |= free[i] == _OWN and kinds[i] == p
        if not there:
            continue
        for k in range(images):
            if seen.weight[k]:
                low, given, high = m.low[p - 1, k], m.mean[p - 1, k], m.high[p - 1, k]
                found = _value(rest[k], parts, free, before[:, k].copy(), p, given - m.background[k])
                values[p, k] = min(max(found, low - m.background[k]), high - m.background[k])


@njit(nogil=True, cache=True)
def _value(rest: Floats, parts: Floats, free: States, values: Floats, own: int, given: np.float32) -> np.float32:
    """Grey value of a phase from what is left of voxels without all others, and its share in them."""
    total, whole = float(_PRIOR * given), _PRIOR
    for i in range(rest.size):
        if free[i] == _OWN and parts[own, i] > _PURE and not np.isnan(rest[i]):
            others = np.float32(0)
            for p in range(1, values.size):
                if p != own:
                    others += values[p] * parts[p, i]
            total += rest[i] - others
            whole += parts[own, i]
    return np.float32(total / whole)


@njit(nogil=True, cache=True)
def _step(seen: _Seen, scan: Floats, shift: float, variance: float, blur_too: bool) -> tuple[float, float]:
    """Move of the surface and variance of the blur after one step of least squares."""
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
                if not 0 < near[z, y, x] < 1 or seen.others[z, y, x]:
                    continue
                lacks = seen.rest[k, z, y, x] - scan[z, y, x]
                if np.isnan(lacks):
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


def _lacks(seen: _Seen, scan: Floats, taps: Floats) -> Floats:
    """What the scan of the materials lacks, blurred once more; 0 where nothing is known."""
    off = np.where(np.isnan(seen.rest), np.float32(0), seen.rest - scan)
    for k in range(len(off)):
        off[k] = blurred(off[k], taps)
    return off


@njit(nogil=True, cache=True)
def _relabel(seen: _Seen, states: States, values: Floats, lacks: Floats, fill: Floats, both: Floats) -> None:
    """Change phases of voxels, one after another, as long as that lessens what the scan of them lacks.

    `lacks` follows them; `both` are weights of the blur done twice.
    """
    nz, ny, nx = states.shape
    free, kinds, fills = seen.free.reshape(-1), states.reshape(-1), fill.reshape(-1)
    flat, square = lacks.reshape(lacks.shape[0], kinds.size), both[both.size // 2] ** 3
    moves = np.array([(a * ny + b) * nx + c for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)])
    beside, waiting = _counts(free, kinds, moves, values.shape[0]), free > 0
    for _ in range(_SWEEPS):
        changed = False
        for z in range(1, nz - 1):
            for y in range(1, ny - 1):
                for x in range(1, nx - 1):
                    i = (z * ny + y) * nx + x
                    if not waiting[i]:
                        continue
                    now = int(kinds[i])
                    best = _best(seen, values, flat, i, now, fills[i], square, beside)
                    waiting[i] = _has_others(beside, i, now)
                    if best != now:
                        _take_off(values, lacks, (z, y, x), fills[i], both, now, best)
                        kinds[i] = best
                        for move in moves:
                            beside[now, i + move] -= 1
                            beside[best, i + move] += 1
                            waiting[i + move] = free[i + move] > 0
                        changed = True
        if not changed:
            return


@njit(nogil=True, cache=True)
def _counts(free: States, kinds: States, moves: Integers, materials: int) -> States:
    """Free voxels of each material (materials, voxels) among 27; those at the faces of the box are not counted."""
    n, edge = kinds.size, moves[-1]
    out, own = np.zeros((materials, n), np.int8), np.empty(n, np.int8)
    for p in range(1, materials):
        for i in range(n):
            own[i] = free[i] > 0 and kinds[i] == p
        to = out[p, edge : n - edge]
        for move in moves:
            one = own[edge + move : n - edge + move]
            for i in range(to.size):
                to[i] += one[i]
    return out


@njit(nogil=True, cache=True)
def _has_others(beside: States, i: int, now: int) -> bool:
    """Whether there is another material beside a voxel than its own."""
    others = 0
    for p in range(1, beside.shape[0]):
        if p != now:
            others += beside[p, i]
    return others > 0


@njit(nogil=True, cache=True)
def _best(
    seen: _Seen, values: Floats, lacks: Floats, i: int, now: int, fill: np.float32, square: np.float32, beside: States
) -> int:
    """The material that fits best in a voxel, by its neighbours; one between others only beside where it is already.

    `square` is what a voxel of 1 leaves of itself, blurred twice.
    """
    best, least = now, 0.0
    for other in range(1, beside.shape[0]):
        if other == now or (beside[other, i] == 0 and seen.between[other]):
            continue
        more = _BETA * (beside[now, i] - 1 - beside[other, i])
        for k in range(values.shape[1]):
            d = (values[other, k] - values[now, k]) * fill
            more += 0.5 * seen.weight[k] * d * (d * square - 2 * lacks[k, i])
        if more < least:
            best, least = other, more
    return best


@njit(nogil=True, cache=True)
def _take_off(
    values: Floats, lacks: Floats, at: tuple[int, int, int], fill: np.float32, both: Floats, now: int, best: int
) -> None:
    """Take what another material in a voxel adds, blurred twice, off what the scan lacks."""
    z, y, x = at
    reach = both.size // 2
    images, nz, ny, nx = lacks.shape
    low, high = max(0, x - reach), min(nx, x + reach + 1)
    taps = both[low - x + reach : high - x + reach]
    for k in range(images):
        d = (values[best, k] - values[now, k]) * fill
        if d == 0:
            continue
        for a in range(max(0, z - reach), min(nz, z + reach + 1)):
            for b in range(max(0, y - reach), min(ny, y + reach + 1)):
                w = d * both[a - z + reach] * both[b - y + reach]
                row = lacks[k, a, b, low:high]
                for c in range(taps.size):
                    row[c] -= w * taps[c]
