"""Push overlapping particles apart and pull some near ones together.

Two particles that overlap along the line between their centres move apart along it. Extents along that line come from
the real shapes, not from spheres around them, so facets meet. Long and flat particles touch elsewhere: these move apart
along the normal of their contact, as the ellipsoids of equal axes have it. What overlap is left in a dense
packing is shared out by the distance rule of the stamping stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.phantom.ellipsoids import ellipsoid_gap
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.region import Region

if TYPE_CHECKING:
    from ps3d_core.phantom.packing import Packing
    from ps3d_core.phantom.shapes import Bank

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SETTLE = 10  # in the last steps particles are only pushed apart


class _Cells(NamedTuple):
    """Particles sorted into cubic cells: `member[start[k]:start[k + 1]]` lie in cell k, ascending."""

    edge: float
    counts: I64
    start: I64
    member: I64


class _How(NamedTuple):
    """How particles meet: depth of a contact / smaller radius, share that is pulled together, model of a contact."""

    contact: float
    cohesion: float
    ellipsoids: bool


def relax(packing: Packing, bank: Bank, region: Region, params: PhantomParams) -> None:
    """Move the centres of `packing` in place, until particles touch as `params` has it."""
    edge = max(2.0 * float(np.mean(packing.reach)), 1e-3)
    counts = np.maximum(((region.high - region.low) / edge).astype(np.int64), 1)
    for step in range(params.relaxation_steps):
        start, member = _bin(packing.centre, region.low, edge, counts)
        # Copies in the order of the cells: the neighbours of a particle lie side by side in memory, which is what
        # makes millions of particles possible. Particles still take their turns in the order of the list.
        moving = packing.take(member)
        pulling = params.cohesion if step < params.relaxation_steps - _SETTLE else 0.0
        how = _How(params.contact, pulling, params.contact_model == "ellipsoids")
        _step(moving, _Cells(edge, counts, start, member), bank, region, how)
        packing.centre[member] = moving.centre


@njit(nogil=True, cache=True)
def _bin(centre: F64, low: F64, edge: float, counts: I64) -> tuple[I64, I64]:
    """Counting sort of the centres into cells: start of every cell, members in order of their index."""
    n = len(centre)
    where = np.empty(n, np.int64)
    start = np.zeros(counts[0] * counts[1] * counts[2] + 1, np.int64)
    for i in range(n):
        k = 0
        for a in range(3):
            k = k * counts[a] + min(max(int((centre[i, a] - low[a]) / edge), 0), counts[a] - 1)
        where[i] = k
        start[k + 1] += 1
    for k in range(len(start) - 1):
        start[k + 1] += start[k]
    fill = start[:-1].copy()
    member = np.empty(n, np.int64)
    for i in range(n):
        member[fill[where[i]]] = i
        fill[where[i]] += 1
    return start, member


@njit(nogil=True, cache=True)
def _step(moving: Packing, cells: _Cells, bank: Bank, region: Region, how: _How) -> None:
    """One turn of every particle; a pair is handled from its larger member.

    Moves take effect at once (Gauss-Seidel), which settles in fewer steps than moving all at the end.
    """
    n = len(moving.radius)
    counts, start, member = cells.counts, cells.start, cells.member
    slot = np.empty(n, np.int64)
    for m in range(n):
        slot[member[m]] = m
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(n):
        s = slot[i]
        look = 2.4 * moving.reach[s]
        for a in range(3):
            offset = moving.centre[s, a] - region.low[a]
            first[a] = min(max(int((offset - look) / cells.edge), 0), counts[a] - 1)
            last[a] = max(min(int((offset + look) / cells.edge), counts[a] - 1), 0)
        for cz in range(first[0], last[0] + 1):
            for cy in range(first[1], last[1] + 1):
                row = (cz * counts[1] + cy) * counts[2]
                for m in range(start[row + first[2]], start[row + last[2] + 1]):
                    j = member[m]
                    larger = moving.reach[m] > moving.reach[s]
                    if larger or (moving.reach[m] == moving.reach[s] and j <= i):
                        continue
                    square = 0.0
                    for a in range(3):
                        square += (moving.centre[m, a] - moving.centre[s, a]) ** 2
                    pulled = (i * 7919 + j * 104729) % 1000 < 1000 * how.cohesion
                    reach = 0.5 * moving.radius[m] if pulled else -how.contact * moving.radius[m]
                    if square <= (moving.reach[s] + moving.reach[m] + reach) ** 2:
                        _meet(moving, bank, s, m, how, pulled)
        _confine(moving, bank, region, s)


@njit(nogil=True, cache=True)
def _meet(moving: Packing, bank: Bank, s: int, m: int, how: _How, pulled: bool) -> None:
    """Move two particles apart or together; the smaller one yields more."""
    centre, size = moving.centre, moving.radius[m]
    dz, dy, dx = centre[m, 0] - centre[s, 0], centre[m, 1] - centre[s, 1], centre[m, 2] - centre[s, 2]
    dist = max(np.sqrt(dz * dz + dy * dy + dx * dx), 1e-3)
    uz, uy, ux = dz / dist, dy / dist, dx / dist
    if how.ellipsoids:
        gap, uz, uy, ux = ellipsoid_gap(moving.frame[s], moving.frame[m], (dist * uz, dist * uy, dist * ux))
    else:
        touch = _extent(moving, bank, s, uz, uy, ux)
        touch += _extent(moving, bank, m, -uz, -uy, -ux)
        gap = dist - touch
    gap += how.contact * size
    if gap < 0.0:
        move = min(-0.8 * gap, 0.6 * size)
    elif pulled and gap < 0.5 * size:
        move = -0.15 * gap
    else:
        return
    share = size / (moving.radius[s] + size)
    centre[s, 0] -= share * move * uz
    centre[s, 1] -= share * move * uy
    centre[s, 2] -= share * move * ux
    centre[m, 0] += (1.0 - share) * move * uz
    centre[m, 1] += (1.0 - share) * move * uy
    centre[m, 2] += (1.0 - share) * move * ux


@njit(nogil=True, cache=True)
def _extent(moving: Packing, bank: Bank, s: int, uz: float, uy: float, ux: float) -> float:
    """Distance from a particle's centre to its surface in the direction u."""
    frame, p = moving.frame, moving.prototype[s]
    a = frame[s, 0, 0] * uz + frame[s, 0, 1] * uy + frame[s, 0, 2] * ux
    b = frame[s, 1, 0] * uz + frame[s, 1, 1] * uy + frame[s, 1, 2] * ux
    c = frame[s, 2, 0] * uz + frame[s, 2, 1] * uy + frame[s, 2, 2] * ux
    inverse = np.sqrt(a * a + b * b + c * c) / bank.ball[p]
    for k in range(bank.cuts[p]):
        along = bank.planes[p, k, 0] * a + bank.planes[p, k, 1] * b + bank.planes[p, k, 2] * c
        inverse = max(inverse, along / bank.planes[p, k, 3])
    return float(1.0 / inverse)


@njit(nogil=True, cache=True)
def _confine(moving: Packing, bank: Bank, region: Region, s: int) -> None:
    """Keep a centre in the region and the particle's surface inside tube and walls."""
    centre, cylinder = moving.centre, region.cylinder
    for a in range(3):
        centre[s, a] = min(max(centre[s, a], region.low[a]), region.high[a])
    if cylinder[2] > 0.0:
        ay = cylinder[0] + cylinder[4] * (centre[s, 0] - cylinder[3])
        ax = cylinder[1] + cylinder[5] * (centre[s, 0] - cylinder[3])
        dy, dx = centre[s, 1] - ay, centre[s, 2] - ax
        r = max(np.sqrt(dy * dy + dx * dx), 1e-6)
        room = max(cylinder[2] - _extent(moving, bank, s, 0.0, dy / r, dx / r), 0.0)
        if r > room:
            centre[s, 1] = ay + dy / r * room
            centre[s, 2] = ax + dx / r * room
    for k in range(len(region.planes)):
        nz, ny, nx, offset = region.planes[k]
        beyond = nz * centre[s, 0] + ny * centre[s, 1] + nx * centre[s, 2] - offset
        beyond += _extent(moving, bank, s, nz, ny, nx)
        if beyond > 0.0:
            centre[s, 0] -= beyond * nz
            centre[s, 1] -= beyond * ny
            centre[s, 2] -= beyond * nx
