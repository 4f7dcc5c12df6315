"""The phase of every voxel of a particle, where voxels that hold two materials are not taken for a third one.

The scanner's blur makes grey values pass through everything between two materials where these meet, so a bright phase
in air, or beside a dark one, wears a shell of the grey value of any middle phase. What tells such a voxel from one of
that phase is that grey values change there, and how fast is known: across a face between p and q, blurred with standard
deviation s, the share t of q grows from 0 to 1 like the integral of a Gaussian, whose slope at share t is

    slope(t) = phi(Phi^-1(t)) / s,  which is close to  1.6 t (1 - t) / s

So a voxel is pure unless, for two materials (background is one) other than its own whose grey values lie on both sides
of it, the gradient of t is more than half of slope(t). A mixed voxel belongs to one of the two materials that it lies
between: those met first when one walks from it down and up along the gradient, to the nearer of which it goes.

At the surface one end is outside of the particle. Which voxels are its own was decided before, so such a voxel is of a
phase that lies within two voxels of it. Where these are several, its grey value is freed of the background first: of a
voxel that is c covered, by the labels around it and the blur, the material has background + (grey - background) / c.

The first image in which the contrast is largest, in units of its noise, gives the gradient its direction. Where noise
is more than a sixth of the contrast, grey values are means over 27 voxels with binomial weights first, of one label
each, so that this mixes in nothing from outside. A phase between two others is believed where at least three pure
voxels of it lie together; in noise single voxels have any gradient.

What has the grey value of the background inside of a particle is void: no phase, and not counted. At the surface it is
blur, or a label that is too large, and goes to the phase beside it.

Where blur is not known it is as the surface shows it, 1.25 voxels at most: what is sharp would be overdone by undoing
blur, and a dark particle get a bright rim. A scan that was set to one value outside of particles has a surface that is
sharper than its blur; there it is undone less.

Where a particle shows several phases, this is a beginning: `refine` changes it until the scan of all of them together
is what was seen. Not where a surface is too sharp for the blur that is told: no scan of phases looks like that.

Around a particle grey values may be missing (not finite, as where a scan is masked): nothing is read from them. A
particle that has such voxels itself has no phases.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.composition.materials import Materials
from ps3d_core.composition.refine import refine
from ps3d_core.composition.scene import blurred, gaussian

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint32]

OUTSIDE: Final = -1
VOID: Final = 100
MIXED: Final = 101
PAD: Final = 2
"""Voxels around the box of a particle that are looked at."""

_WALK: Final = 3
_FURTHER: Final = 2
_SUPPORT: Final = 3
_SMOOTH_BELOW: Final = 6.0
SHARP: Final = 0.5
_LEAST_SHARE: Final = 0.1
_SIDEWAYS: Final = 0.35
_GROWTH: Final = 64
_FILLED: Final = PAD + 1
"""Voxels from finite grey values on that others are filled: no voxel of a particle looks farther."""
_FIRST_BLUR: Final = np.float32(1.25)
"""Of a scanner whose blur is not known: the wider this is, the more voxels are looked at as mixed."""
_LEAST_BLUR: Final = np.float32(0.2)
"""Voxels; a face with less is within one voxel, as with none."""
_HALVINGS: Final = 12
"""Of the interval that the blur of a surface is looked for in: to less than a thousandth of a voxel."""
_MASKED: Final = np.float32(0.7)
"""Of the blur that is told, what the surface has at least where what is outside of particles is as it was scanned."""
_TO_SIGMA: Final = 1.4826 / 1.0801
"""From the median of |voxel - mean of its 6 neighbours| to the standard deviation of white noise."""


def classes_of(labels: Labels, grey: Floats, label: np.uint32, given: Materials) -> Classes:
    """Return the class of each voxel of a particle's box, int8 (z, y, x).

    `labels` (z, y, x) and `grey` (k, z, y, x) hold the box and `PAD` voxels around it. Classes are numbers of phases,
    `VOID` inside pores, and `OUTSIDE` where the voxel is not of the particle.
    """
    # Kernels are called one by one: a compiler would take each in again for all that call it.
    background, noise = _completed(labels, grey, label, given)
    m = given._replace(background=background, noise=noise)
    known = grey if np.isfinite(grey).all() else _filled(grey)
    most = _FIRST_BLUR if np.isnan(m.blur) else m.blur
    at_surface = _blur_at_surface(*_steps_at_surface(labels, known, label, m.weight), float(most))
    out = _by_themselves(labels, known, label, m, at_surface)
    if not _any_phase(out):
        _as_deepest(labels, known, label, m, out)
    elif _has_several(out) and not at_surface < _MASKED * m.blur:
        refine(labels, grey, label, m, out)
    return out[PAD:-PAD, PAD:-PAD, PAD:-PAD].copy()


def _by_themselves(labels: Labels, grey: Floats, label: np.uint32, m: Materials, at_surface: np.float32) -> Classes:
    """Classes by each voxel and those beside it, of all that `labels` hold; `at_surface` is the blur there."""
    blur = at_surface if np.isnan(m.blur) else m.blur
    contrast = _contrast(m)
    s = _with_cover(labels, grey, blur)
    if contrast < _SMOOTH_BELOW:
        s, spread = _smoothed(labels, s, label), np.sqrt(blur**2 + np.float32(0.5 + 1 / 3))
    else:
        amount = np.float32(_amount(contrast, blur))
        s = _sharpened(s, amount, np.float32(_amount(contrast, at_surface)), labels)
        spread = np.sqrt(blur**2 - np.float32(2 * amount * SHARP) + np.float32(1 / 3))
    first, slopes = _pure(labels, s, label, m, np.float32(spread))
    _without_support(first, m)
    out = first.copy()
    _walk_apart(first, slopes, s, m, out)
    _no_void_outside(out)
    _grow(out, s)
    return out


@njit(nogil=True, cache=True)
def nearest_phase(voxel: Floats, m: Materials) -> int:
    """Return the number of the phase whose box is nearest to the grey values (k,) of a voxel; `VOID` for background."""
    best, least = 0, np.float32(np.inf)
    for p in range(m.low.shape[0]):
        off = np.float32(0)
        for k in range(voxel.size):
            d = max(m.low[p, k] - voxel[k], voxel[k] - m.high[p, k], np.float32(0))
            off += m.weight[k] * d * d
        if off < least:
            best, least = p, off
    if least > 0:
        off, known = np.float32(0), False
        for k in range(voxel.size):
            if not np.isnan(m.background[k]):
                d = voxel[k] - m.background[k]
                off += m.weight[k] * d * d
                known = True
        if known and off < least:
            return VOID
    return best


@njit(nogil=True, cache=True)
def _completed(labels: Labels, grey: Floats, label: np.uint32, m: Materials) -> tuple[Floats, Floats]:
    """Background and noise (k,), of this particle where they are not known."""
    background, noise = m.background.copy(), m.noise.copy()
    for k in range(background.size):
        if np.isnan(background[k]):
            background[k] = _background(labels, grey[k])
        if np.isnan(noise[k]):
            noise[k] = _noise(labels, grey[k], label)
    return background, noise


@njit(nogil=True, cache=True)
def _background(labels: Labels, grey: Floats) -> np.float32:
    """Mean grey value of what lies around, of voxels without a particle at their faces; NaN where there are none."""
    nz, ny, nx = labels.shape
    total, n = 0.0, 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if labels[z, y, x] == 0 and np.isfinite(grey[z, y, x]) and _is_free(labels, z, y, x):
                    total += grey[z, y, x]
                    n += 1
    return np.float32(total / n) if n else np.float32(np.nan)


@njit(nogil=True, cache=True)
def _filled(grey: Floats) -> Floats:
    """Grey values where those that are not finite are means of those beside them, so that no gradient begins there."""
    out = grey.copy()
    images, nz, ny, nx = grey.shape
    for k in range(images):
        for _ in range(_FILLED):
            before = out[k].copy()
            for z in range(nz):
                for y in range(ny):
                    for x in range(nx):
                        if not np.isfinite(before[z, y, x]):
                            out[k, z, y, x] = _mean_beside(before, z, y, x)
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    if not np.isfinite(out[k, z, y, x]):
                        out[k, z, y, x] = 0
    return out


@njit(nogil=True, cache=True)
def _mean_beside(grey: Floats, z: int, y: int, x: int) -> np.float32:
    """Mean of the finite ones among the 26 values beside one; NaN where there are none."""
    nz, ny, nx = grey.shape
    total, n = 0.0, 0
    for a in range(max(z - 1, 0), min(z + 2, nz)):
        for b in range(max(y - 1, 0), min(y + 2, ny)):
            for c in range(max(x - 1, 0), min(x + 2, nx)):
                if np.isfinite(grey[a, b, c]):
                    total += grey[a, b, c]
                    n += 1
    return np.float32(total / n) if n else np.float32(np.nan)


@njit(nogil=True, cache=True)
def _is_free(labels: Labels, z: int, y: int, x: int) -> bool:
    nz, ny, nx = labels.shape
    for a in range(max(z - 1, 0), min(z + 2, nz)):
        for b in range(max(y - 1, 0), min(y + 2, ny)):
            for c in range(max(x - 1, 0), min(x + 2, nx)):
                if labels[a, b, c]:
                    return False
    return True


@njit(nogil=True, cache=True)
def _noise(labels: Labels, grey: Floats, label: np.uint32) -> np.float32:
    """Standard deviation of white noise, from the median difference of voxels to their six neighbours."""
    nz, ny, nx = labels.shape
    found = np.empty(labels.size, np.float32)
    n = 0
    for z in range(PAD, nz - PAD):
        for y in range(PAD, ny - PAD):
            for x in range(PAD, nx - PAD):
                if labels[z, y, x] != label or not (
                    labels[z - 1, y, x] == label == labels[z + 1, y, x]
                    and labels[z, y - 1, x] == label == labels[z, y + 1, x]
                    and labels[z, y, x - 1] == label == labels[z, y, x + 1]
                ):
                    continue
                around = grey[z - 1, y, x] + grey[z + 1, y, x] + grey[z, y - 1, x] + grey[z, y + 1, x]
                around += grey[z, y, x - 1] + grey[z, y, x + 1]
                found[n] = abs(grey[z, y, x] - around / np.float32(6))
                n += 1
    return np.float32(np.median(found[:n]) * _TO_SIGMA) if n else np.float32(0)


@njit(nogil=True, cache=True)
def _steps_at_surface(labels: Labels, grey: Floats, label: np.uint32, weight: Floats) -> tuple[float, float]:
    """How much of what grey values change by across the surface, over three voxels, they do from one to the next.

    That is the ratio of what is returned: products of both changes, and squares of the larger, summed over all lines of
    two voxels of the particle and two of background.
    """
    nz, ny, nx = labels.shape
    along = square = 0.0
    for z in range(PAD, nz - PAD):
        for y in range(PAD, ny - PAD):
            for x in range(PAD, nx - PAD):
                if labels[z, y, x] != label:
                    continue
                for axis in range(3):
                    for sign in (-1, 1):
                        a, b, c = sign * (axis == 0), sign * (axis == 1), sign * (axis == 2)
                        out = labels[z + a, y + b, x + c] == 0 and labels[z + 2 * a, y + 2 * b, x + 2 * c] == 0
                        if not out or labels[z - a, y - b, x - c] != label:
                            continue
                        for k in range(weight.size):
                            step = float(grey[k, z, y, x]) - float(grey[k, z + a, y + b, x + c])
                            whole = float(grey[k, z - a, y - b, x - c])
                            whole -= float(grey[k, z + 2 * a, y + 2 * b, x + 2 * c])
                            along += weight[k] * step * whole
                            square += weight[k] * whole * whole
    return along, square


def _blur_at_surface(along: float, square: float, most: float) -> np.float32:
    """Blur of the surface by the steps there; `most` where it is that or more, or not known.

    Of a face that is blurred with standard deviation s, erf(1 / (2 sqrt(2) s)) lies within a voxel's length.
    """
    low, high = float(_LEAST_BLUR), most
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        one, three = math.erf(0.5 / (math.sqrt(2) * middle)), math.erf(1.5 / (math.sqrt(2) * middle))
        if along * three > square * one:
            high = middle
        else:
            low = middle
    return np.float32(high)


def _with_cover(labels: Labels, grey: Floats, blur: np.float32) -> Floats:
    """Grey values, and as one more image what share of each voxel particles have after the blur: (k + 1, z, y, x)."""
    cover = blurred((labels != 0).astype(np.float32), gaussian(float(blur) ** 2, PAD))
    return np.concatenate((grey, cover[np.newaxis]))


@njit(nogil=True, cache=True)
def _contrast(m: Materials) -> float:
    """Least distance of two materials in standard deviations of the noise."""
    phases, images = m.mean.shape
    least = np.inf
    for p in range(phases):
        for q in range(-1, p):
            apart = 0.0
            for k in range(images):
                d = m.mean[p, k] - (m.background[k] if q < 0 else m.mean[q, k])
                if not np.isnan(d):
                    apart += (d / max(m.noise[k], np.float32(1e-20))) ** 2
            if apart > 0:
                least = min(least, np.sqrt(apart))
    return least


@njit(nogil=True, cache=True)
def _amount(contrast: float, blur: np.float32) -> np.float32:
    """Share of the second derivative that is taken off: what undoes the blur, or as much as the noise allows."""
    gain = contrast / _SMOOTH_BELOW
    # (1 + 6 a)^2 + 6 a^2 is by how much the variance of white noise grows.
    allowed = (np.sqrt(36 + 42 * max(gain * gain - 1, 0.0)) - 6) / 42
    return np.float32(min(allowed, 0.5 * blur * blur))


@njit(nogil=True, cache=True)
def _sharpened(grey: Floats, amount: np.float32, at_surface: np.float32, labels: Labels) -> Floats:
    """Grey values less so much of their Laplacian: the first term of what undoes a Gaussian blur.

    Beside background it is `at_surface`: a scan that was set to one value outside of particles is not blurred there.
    """
    out = grey.copy()
    images, nz, ny, nx = grey.shape
    for k in range(images):
        for z in range(1, nz - 1):
            for y in range(1, ny - 1):
                for x in range(1, nx - 1):
                    around = grey[k, z - 1, y, x] + grey[k, z + 1, y, x] + grey[k, z, y - 1, x] + grey[k, z, y + 1, x]
                    around += grey[k, z, y, x - 1] + grey[k, z, y, x + 1]
                    much = at_surface if _is_at_background(labels, z, y, x) else amount
                    out[k, z, y, x] += much * (np.float32(6) * grey[k, z, y, x] - around)
    return out


@njit(nogil=True, cache=True, inline="always")
def _is_at_background(labels: Labels, z: int, y: int, x: int) -> bool:
    """Whether a voxel or one at its faces is background."""
    own = labels[z, y, x] == 0 or labels[z - 1, y, x] == 0 or labels[z + 1, y, x] == 0
    beside = labels[z, y - 1, x] == 0 or labels[z, y + 1, x] == 0
    return bool(own or beside or labels[z, y, x - 1] == 0 or labels[z, y, x + 1] == 0)


@njit(nogil=True, cache=True)
def _smoothed(labels: Labels, grey: Floats, label: np.uint32) -> Floats:
    """Means (k, z, y, x) over 27 voxels with binomial weights, of the particle and of all else by themselves."""
    out, ones = np.empty_like(grey), np.ones_like(grey[0])
    for own in (True, False):
        whole = binomial(_only(labels, ones, label, own))
        for k in range(grey.shape[0]):
            _divide(labels, binomial(_only(labels, grey[k], label, own)), whole, (label, own), out[k])
    return out


# Loops in the place of whole arrays, which would take a compiler most of a minute.
@njit(nogil=True, cache=True)
def _only(labels: Labels, values: Floats, label: np.uint32, own: bool) -> Floats:
    """Values of the particle, or of all else; 0 elsewhere."""
    out = np.zeros_like(values)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if (labels[z, y, x] == label) == own:
                    out[z, y, x] = values[z, y, x]
    return out


@njit(nogil=True, cache=True)
def _divide(labels: Labels, sums: Floats, whole: Floats, which: tuple[np.uint32, bool], out: Floats) -> None:
    """Write means of the particle, or of all else, where they belong."""
    label, own = which
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if (labels[z, y, x] == label) == own:
                    out[z, y, x] = sums[z, y, x] / whole[z, y, x]


@njit(nogil=True, cache=True)
def binomial(values: Floats) -> Floats:
    """Return sums (z, y, x) over 27 voxels with weights 1, 2 and 1 along each axis; what is outside counts nothing."""
    one, other = np.empty_like(values), np.empty_like(values)
    nz, ny, nx = values.shape
    _add_beside(values.reshape(1, nz, ny * nx), one.reshape(1, nz, ny * nx))
    _add_beside(one.reshape(nz, ny, nx), other.reshape(nz, ny, nx))
    _add_beside(other.reshape(nz * ny, nx, 1), one.reshape(nz * ny, nx, 1))
    return one


@njit(nogil=True, cache=True)
def _add_beside(values: Floats, out: Floats) -> None:
    """Write twice each value and its neighbours along the middle axis."""
    outer, n, inner = values.shape
    for a in range(outer):
        for i in range(n):
            for b in range(inner):
                out[a, i, b] = np.float32(2) * values[a, i, b]
            if i > 0:
                for b in range(inner):
                    out[a, i, b] += values[a, i - 1, b]
            if i + 1 < n:
                for b in range(inner):
                    out[a, i, b] += values[a, i + 1, b]


@njit(nogil=True, cache=True)
def _pure(labels: Labels, s: Floats, label: np.uint32, m: Materials, spread: np.float32) -> tuple[Classes, Floats]:
    """Phases of voxels that look pure, `MIXED` of others; and the direction (3, z, y, x) in which grey rises there."""
    nz, ny, nx = labels.shape
    images = m.mean.shape[1]
    out = np.full(labels.shape, OUTSIDE, np.int8)
    slopes = np.zeros((3, nz, ny, nx), np.float32)
    voxel, rise = np.empty(images, np.float32), np.empty((images, 3), np.float32)
    half = np.float32(0.5)
    for z in range(PAD, nz - PAD):
        for y in range(PAD, ny - PAD):
            for x in range(PAD, nx - PAD):
                if labels[z, y, x] != label:
                    continue
                for k in range(images):
                    voxel[k] = s[k, z, y, x]
                    rise[k, 0] = half * (s[k, z + 1, y, x] - s[k, z - 1, y, x])
                    rise[k, 1] = half * (s[k, z, y + 1, x] - s[k, z, y - 1, x])
                    rise[k, 2] = half * (s[k, z, y, x + 1] - s[k, z, y, x - 1])
                phase = nearest_phase(voxel, m)
                out[z, y, x] = phase
                if phase != VOID and _is_mixed(voxel, rise, phase, m, spread):
                    out[z, y, x] = MIXED
                    k = _clearest(rise, m)
                    for axis in range(3):
                        slopes[axis, z, y, x] = rise[k, axis]
    return out, slopes


@njit(nogil=True, cache=True)
def _is_mixed(voxel: Floats, rise: Floats, phase: int, m: Materials, spread: np.float32) -> bool:
    """Whether a voxel lies between two materials other than `phase`, on a slope as steep as between these."""
    for p in range(m.mean.shape[0]):
        if p == phase:
            continue
        for q in range(-1, p):
            if q == phase:
                continue
            along, square, t0, off = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            gz, gy, gx = np.float32(0), np.float32(0), np.float32(0)
            for k in range(voxel.size):
                start = m.background[k] if q < 0 else m.mean[q, k]
                d = m.mean[p, k] - start
                if np.isnan(d):
                    continue
                w = m.weight[k] * d
                square += w * d
                along += w * (voxel[k] - start)
                off += m.weight[k] * (voxel[k] - start) ** 2
                gz += w * rise[k, 0]
                gy += w * rise[k, 1]
                gx += w * rise[k, 2]
            if square <= 0:
                continue
            t0 = along / square
            if not _LEAST_SHARE < t0 < 1 - _LEAST_SHARE or off / square - t0 * t0 > _SIDEWAYS**2:
                continue
            slope = np.sqrt(gz * gz + gy * gy + gx * gx) / square
            if slope * spread > 0.5 * 1.6 * t0 * (1 - t0):
                return True
    return False


@njit(nogil=True, cache=True)
def _clearest(rise: Floats, m: Materials) -> int:
    """The image in which grey rises most, by its noise."""
    best, most = 0, -1.0
    for k in range(rise.shape[0]):
        noise = max(m.noise[k], np.float32(1e-20))
        steep = (rise[k, 0] ** 2 + rise[k, 1] ** 2 + rise[k, 2] ** 2) / (noise * noise)
        if steep > most:
            best, most = k, steep
    return best


@njit(nogil=True, cache=True)
def _without_support(first: Classes, m: Materials) -> None:
    """Make mixed of pure voxels of a phase between others with fewer than two of their kind around them."""
    nz, ny, nx = first.shape
    before = first.copy()
    between = np.zeros(m.mean.shape[0], np.bool_)
    for p in range(between.size):
        between[p] = _is_between(p, m)
    for z in range(PAD, nz - PAD):
        for y in range(PAD, ny - PAD):
            for x in range(PAD, nx - PAD):
                phase = before[z, y, x]
                if phase < 0 or phase >= VOID or not between[phase]:
                    continue
                alike = 0
                for a in range(z - 1, z + 2):
                    for b in range(y - 1, y + 2):
                        for c in range(x - 1, x + 2):
                            alike += before[a, b, c] == phase
                if alike < _SUPPORT:
                    first[z, y, x] = MIXED


@njit(nogil=True, cache=True)
def _is_between(phase: int, m: Materials) -> bool:
    """Whether a phase lies between two other materials in some image."""
    for k in range(m.mean.shape[1]):
        below, above = m.background[k] < m.mean[phase, k], m.background[k] > m.mean[phase, k]
        for q in range(m.mean.shape[0]):
            below |= m.mean[q, k] < m.mean[phase, k]
            above |= m.mean[q, k] > m.mean[phase, k]
        if below and above:
            return True
    return False


@njit(nogil=True, cache=True)
def _walk_apart(first: Classes, slopes: Floats, s: Floats, m: Materials, out: Classes) -> None:
    """Give mixed voxels to one of the two materials that they lie between."""
    nz, ny, nx = first.shape
    several = _has_several(first)
    for z in range(PAD, nz - PAD):
        for y in range(PAD, ny - PAD):
            for x in range(PAD, nx - PAD):
                if first[z, y, x] != MIXED:
                    continue
                gz, gy, gx = slopes[0, z, y, x], slopes[1, z, y, x], slopes[2, z, y, x]
                length = np.sqrt(gz * gz + gy * gy + gx * gx)
                if length == 0:
                    continue
                way = (gz / length, gy / length, gx / length)
                low, lowest = _end(first, s, (z, y, x), way, -1)
                high, highest = _end(first, s, (z, y, x), way, 1)
                beside = -1
                if several and (low == OUTSIDE or high == OUTSIDE):  # noqa: PLR1714  (kernels are slow with tuples)
                    beside = _beside(first, s, (z, y, x), m)
                if beside < 0:
                    beside = _of_two(low, lowest, high, highest, s, (z, y, x), m.weight)
                out[z, y, x] = beside


@njit(nogil=True, cache=True)
def _has_several(first: Classes) -> bool:
    """Whether a particle shows more than one phase."""
    seen = OUTSIDE
    kinds = first.reshape(-1)
    for i in range(kinds.size):
        kind = int(kinds[i])
        if 0 <= kind < VOID and kind != seen:
            if seen != OUTSIDE:
                return True
            seen = kind
    return False


@njit(nogil=True, cache=True)
def _beside(first: Classes, s: Floats, at: tuple[int, int, int], m: Materials) -> int:
    """The phase of a voxel at the surface among those within two voxels, by its grey value without the background's."""
    phases, images = m.mean.shape
    means, found = np.zeros((phases, images), np.float32), np.zeros(phases, np.float32)
    for a in range(at[0] - PAD, at[0] + PAD + 1):
        for b in range(at[1] - PAD, at[1] + PAD + 1):
            for c in range(at[2] - PAD, at[2] + PAD + 1):
                phase = first[a, b, c]
                if 0 <= phase < VOID:
                    found[phase] += 1
                    for k in range(images):
                        means[phase, k] += s[k, a, b, c]
    cover = max(s[images, at[0], at[1], at[2]], np.float32(0.2))
    best, least = -1, np.float32(np.inf)
    for p in range(phases):
        off = np.float32(0)
        for k in range(images):
            if found[p] and not np.isnan(m.background[k]):
                material = m.background[k] + (s[k, at[0], at[1], at[2]] - m.background[k]) / cover
                off += m.weight[k] * (material - means[p, k] / found[p]) ** 2
        if found[p] and off < least:
            best, least = p, off
    return best


@njit(nogil=True, cache=True)
def _end(
    first: Classes, s: Floats, at: tuple[int, int, int], way: tuple[np.float32, np.float32, np.float32], sign: int
) -> tuple[int, tuple[int, int, int]]:
    """First class that is not mixed on the way from a voxel, and where; `MIXED` when the walk ends before."""
    for step in range(1, _WALK + 1):
        here = _step(at, way, sign * step)
        for axis in range(3):
            if here[axis] < 0 or here[axis] >= first.shape[axis]:
                return OUTSIDE, at
        if first[here] != MIXED:
            return int(first[here]), _plateau(first, s, at, way, sign, step)
    return MIXED, at


@njit(nogil=True, cache=True)
def _plateau(
    first: Classes,
    s: Floats,
    at: tuple[int, int, int],
    way: tuple[np.float32, np.float32, np.float32],
    sign: int,
    step: int,
) -> tuple[int, int, int]:
    """Where, of the class met after so many steps, the grey value is farthest from the start: pure begins before."""
    z, y, x = _step(at, way, sign * step)
    kind, best, most = first[z, y, x], (z, y, x), np.float32(-1)
    for further in range(step, step + 1 + _FURTHER):
        z, y, x = _step(at, way, sign * further)
        nz, ny, nx = first.shape
        if not (0 <= z < nz and 0 <= y < ny and 0 <= x < nx) or first[z, y, x] != kind:
            break
        off = abs(s[0, z, y, x] - s[0, at[0], at[1], at[2]])
        if off > most:
            best, most = (z, y, x), off
    return best


@njit(nogil=True, cache=True, inline="always")
def _step(at: tuple[int, int, int], way: tuple[np.float32, np.float32, np.float32], steps: int) -> tuple[int, int, int]:
    """The voxel that lies so many steps from another in a direction."""
    return (
        at[0] + int(np.rint(steps * way[0])),
        at[1] + int(np.rint(steps * way[1])),
        at[2] + int(np.rint(steps * way[2])),
    )


@njit(nogil=True, cache=True)
def _of_two(
    low: int,
    lowest: tuple[int, int, int],
    high: int,
    highest: tuple[int, int, int],
    s: Floats,
    at: tuple[int, int, int],
    weight: Floats,
) -> int:
    """The class of a mixed voxel by those at both ends of its slope."""
    if low in (OUTSIDE, MIXED) and high in (OUTSIDE, MIXED):
        return MIXED
    if low in (OUTSIDE, MIXED):
        return high
    if high in (OUTSIDE, MIXED) or low == high:
        return low
    along, square = np.float32(0), np.float32(0)
    for k in range(weight.size):
        a, b = s[k, lowest[0], lowest[1], lowest[2]], s[k, highest[0], highest[1], highest[2]]
        along += weight[k] * (s[k, at[0], at[1], at[2]] - a) * (b - a)
        square += weight[k] * (b - a) ** 2
    return high if 2 * along > square else low


@njit(nogil=True, cache=True)
def _no_void_outside(out: Classes) -> None:
    """Make mixed of void at the surface, two voxels deep: blur, or a label that is too large."""
    nz, ny, nx = out.shape
    for _ in range(2):
        before = out.copy()
        for z in range(PAD, nz - PAD):
            for y in range(PAD, ny - PAD):
                for x in range(PAD, nx - PAD):
                    if before[z, y, x] == VOID and (
                        _is_open(before[z - 1, y, x])
                        or _is_open(before[z + 1, y, x])
                        or _is_open(before[z, y - 1, x])
                        or _is_open(before[z, y + 1, x])
                        or _is_open(before[z, y, x - 1])
                        or _is_open(before[z, y, x + 1])
                    ):
                        out[z, y, x] = MIXED


@njit(nogil=True, cache=True, inline="always")
def _is_open(kind: np.int8) -> bool:
    return bool(kind in (OUTSIDE, MIXED))


@njit(nogil=True, cache=True)
def _grow(out: Classes, s: Floats) -> None:
    """Give what is still mixed to the phase, among those at its faces, whose voxel is most like it."""
    nz, ny, nx = out.shape
    steps = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    for _ in range(_GROWTH):
        before, changed, left = out.copy(), False, False
        for z in range(PAD, nz - PAD):
            for y in range(PAD, ny - PAD):
                for x in range(PAD, nx - PAD):
                    if before[z, y, x] != MIXED:
                        continue
                    least = np.float32(np.inf)
                    for dz, dy, dx in steps:
                        phase = before[z + dz, y + dy, x + dx]
                        if phase >= 0 and phase < VOID:
                            off = abs(s[0, z, y, x] - s[0, z + dz, y + dy, x + dx])
                            if off < least:
                                least = off
                                out[z, y, x] = phase
                    if out[z, y, x] == MIXED:
                        left = True
                    else:
                        changed = True
        if not changed or not left:
            return


def _any_phase(out: Classes) -> bool:
    return bool(((out >= 0) & (out < VOID)).any())


@njit(nogil=True, cache=True)
def _as_deepest(labels: Labels, grey: Floats, label: np.uint32, m: Materials, out: Classes) -> None:
    """Give all voxels of a particle without a pure one the phase of those with most of its own around them."""
    nz, ny, nx = labels.shape
    images = grey.shape[0]
    most, n = 0, 0
    total = np.zeros(images, np.float64)
    for z in range(PAD, nz - PAD):
        for y in range(PAD, ny - PAD):
            for x in range(PAD, nx - PAD):
                if labels[z, y, x] != label:
                    continue
                own = int((labels[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] == label).sum())
                if own > most:
                    most, n = own, 0
                    total[:] = 0
                if own == most:
                    n += 1
                    for k in range(images):
                        total[k] += grey[k, z, y, x]
    phase = nearest_phase((total / n).astype(np.float32), m)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if labels[z, y, x] == label:
                    out[z, y, x] = phase
