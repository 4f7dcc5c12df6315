"""Phases of voxels such that the scan of them is the scan there is.

Where blur is wide, noise is strong, or an inclusion is small, a voxel's own grey value does not tell its phase. But
what all phases together look like when they are scanned is known (`scene`), and has to be what was seen (`observed`).
So, from the phases that voxels have by themselves, each voxel goes to another phase where that lessens

    sum over voxels (seen - scanned)^2 / (2 variance)  +  beta * (pairs of neighbours, of 26, of different phases)

(iterated conditional modes, Besag, J. R. Stat. Soc. B 48:259, 1986). The variance is that of the noise,
and of what whole voxels cannot show. A phase whose grey value lies between two others spreads only from where it is.
What the scan needs beside the phases is fitted before (`scan_fit`), twice, as both depend on each other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.materials import Materials
from ps3d_core.composition.observed import OWN, Classes, Labels, Observed, observed
from ps3d_core.composition.scan_fit import VARIANCES, fit_step, fit_values
from ps3d_core.composition.scene import Floats, States, blurred, filled, mixed, scanned, shares_of, taps_of, twice

Integers = npt.NDArray[np.int64]

_STEPS: Final = (3, 1)
"""Of least squares, before voxels change for the first and for the second time."""
_SWEEPS: Final = 3
_BETA: Final = 0.15


def refine(labels: Labels, grey: Floats, label: np.uint32, m: Materials, classes: Classes) -> None:
    """Change the phases of a particle's voxels in `classes`, so that the scan of them is `grey`.

    All arrays hold the particle's box and what is around it. `classes` are numbers of phases, others below 0 or above
    all phases. Nothing changes where the background is not known, or the grey values of the phases; where blur is told
    to be so little that each voxel shows what is in it; or where grey values are so large that single precision does
    not hold their squares.
    """
    if m.blur**2 < VARIANCES[0]:
        return
    seen, states = observed(labels, grey, label, m, classes)
    if not seen.weight.any():
        return
    # Kernels are called one by one: a compiler would take each in again for all that call it.
    values, blur_too = seen.values.copy(), bool(np.isnan(m.blur))
    shift, variance = 0.0, 1.0 if blur_too else float(m.blur) ** 2
    fill, taps = filled(seen.near, shift), taps_of(variance)
    for steps in _STEPS:
        shares = shares_of(states, values.shape[0], fill, taps)
        fit_values(seen, states, shares, values, m)
        scan = mixed(shares, values)
        for _ in range(steps):
            shift, variance = fit_step(seen, scan, shift, variance, blur_too)
            fill, taps = filled(seen.near, shift), taps_of(variance)
            scan = scanned(states, values, fill, taps)
        _relabel(seen, states, values, _lacks(seen, scan, taps), fill, twice(taps))
    own = seen.free == OWN
    classes[own] = states[own] - 1


def _lacks(seen: Observed, scan: Floats, taps: Floats) -> Floats:
    """What the scan of the materials lacks, blurred once more; 0 where nothing is known."""
    off = np.where(np.isnan(seen.rest), np.float32(0), seen.rest - scan)
    for k in range(len(off)):
        off[k] = blurred(off[k], taps)
    return off


@njit(nogil=True, cache=True)
def _relabel(seen: Observed, states: States, values: Floats, lacks: Floats, fill: Floats, both: Floats) -> None:
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
    seen: Observed,
    values: Floats,
    lacks: Floats,
    i: int,
    now: int,
    fill: np.float32,
    square: np.float32,
    beside: States,
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
