"""How far apart two ellipsoids are: the contact function of Perram and Wertheim.

Source: J. W. Perram, M. S. Wertheim, J. Comput. Phys. 58:409-416, 1985. Both ellipsoids are scaled by one factor until
they touch; the square of that factor is the maximum over 0 < t < 1 of

    t (1 - t) r' [(1 - t) A + t B]^-1 r

where r joins the centres, and A and B are sums over the axes of (semi-axis)^2 n n'. The vector [...]^-1 r at that
maximum is normal to both surfaces where they touch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

F64 = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

_HALVINGS = 12


@njit(nogil=True, cache=True)
def ellipsoid_gap(frame_a: F64, frame_b: F64, between: Vector) -> tuple[float, float, float, float]:
    """Return the gap between two ellipsoids (negative: overlap) and the unit normal of their contact.

    Args:
        frame_a: (3, 3), turns offsets from the centre into the space where the ellipsoid is the unit ball; its rows
            are perpendicular.
        frame_b: of the other one.
        between: centre of b minus centre of a, not zero.

    Returns:
        Distance along the normal that makes them touch, in the units of `between`, and the normal from a to b. Exact
        for balls; else to first order in the distance.

    """
    a, b = _squares(frame_a), _squares(frame_b)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        t = 0.5 * (low + high)
        if _slope(a, b, between, t) > 0.0:
            low = t
        else:
            high = t
    t = 0.5 * (low + high)
    nz, ny, nx = _solved(a, b, between, t)
    along = between[0] * nz + between[1] * ny + between[2] * nx
    length = np.sqrt(nz * nz + ny * ny + nx * nx)
    factor = np.sqrt(t * (1.0 - t) * along)
    return along / length * (1.0 - 1.0 / max(factor, 1e-6)), nz / length, ny / length, nx / length


@njit(nogil=True, cache=True)
def _squares(frame: F64) -> F64:
    """Sum over the axes of (semi-axis)^2 n n', (6,): zz, yy, xx, zy, zx, yx."""
    out = np.zeros(6)
    for i in range(3):
        z, y, x = frame[i]
        weight = 1.0 / (z * z + y * y + x * x) ** 2
        out += weight * np.array([z * z, y * y, x * x, z * y, z * x, y * x])
    return out


@njit(nogil=True, cache=True)
def _slope(a: F64, b: F64, r: Vector, t: float) -> float:
    """Derivative of the contact function: with v the solution, (1 - t)^2 v' A v - t^2 v' B v."""
    v = _solved(a, b, r, t)
    return (1.0 - t) ** 2 * _form(a, v) - t**2 * _form(b, v)


@njit(nogil=True, cache=True)
def _form(m: F64, v: Vector) -> float:
    z, y, x = v
    square = m[0] * z * z + m[1] * y * y + m[2] * x * x
    return float(square + 2.0 * (m[3] * z * y + m[4] * z * x + m[5] * y * x))


@njit(nogil=True, cache=True)
def _solved(a: F64, b: F64, r: Vector, t: float) -> Vector:
    """Solution v of [(1 - t) A + t B] v = r, by cofactors."""
    zz, yy, xx = (1.0 - t) * a[0] + t * b[0], (1.0 - t) * a[1] + t * b[1], (1.0 - t) * a[2] + t * b[2]
    zy, zx, yx = (1.0 - t) * a[3] + t * b[3], (1.0 - t) * a[4] + t * b[4], (1.0 - t) * a[5] + t * b[5]
    czz, cyy, cxx = yy * xx - yx * yx, zz * xx - zx * zx, zz * yy - zy * zy
    czy, czx, cyx = zx * yx - zy * xx, zy * yx - zx * yy, zy * zx - zz * yx
    det = zz * czz + zy * czy + zx * czx
    return (
        (czz * r[0] + czy * r[1] + czx * r[2]) / det,
        (czy * r[0] + cyy * r[1] + cyx * r[2]) / det,
        (czx * r[0] + cyx * r[1] + cxx * r[2]) / det,
    )
