"""What a scanner makes of a scene: motion, blur, shading, artefacts, noise, numbers of a dtype, black corners."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.artefacts import Rings, Streaks, make_rings, make_streaks, ring_at, streak_at
from ps3d_core.phantom.fields import convolve, gaussian_kernel, key, smooth_field, white_noise
from ps3d_core.phantom.params import PhantomParams

Floats = npt.NDArray[np.float32]

_LEAST = np.float32(0.05)  # shading never darkens by more than to a twentieth


def reach(params: PhantomParams) -> int:
    """Return how many voxels around a box decide its image."""
    return len(point_spread(params)) // 2 + _ghost_margin(params)


def point_spread(params: PhantomParams) -> npt.NDArray[np.float64]:
    """Return the taps of the scanner's blur along each axis; with sharpening its flanks are negative."""
    narrow = gaussian_kernel(params.blur_voxels)
    if params.sharpening == 0.0:
        return narrow
    wide = gaussian_kernel(max(0.5, min(2.0 * params.blur_voxels, 3.0)))
    radius = max(len(narrow), len(wide)) // 2
    narrow = np.pad(narrow, radius - len(narrow) // 2)
    wide = np.pad(wide, radius - len(wide) // 2)
    # the product of three axes overshoots about three times as much as one
    share = params.sharpening / 3
    return np.asarray((1 + share) * narrow - share * wide)


def scan(params: PhantomParams, scene: Floats, box: Box) -> npt.NDArray[np.generic]:
    """Return the image of `box` in the dtype of the phantom, from grey values of the box grown by `reach`."""
    image = _with_ghost(params, convolve(scene, point_spread(params)))
    noise = _noise(params, box)
    if params.shading > 0:
        slow = smooth_field(key(params.seed, 20), box, params.shading_voxels)
    else:
        slow = np.zeros((1, 1, 1), np.float32)
    low, high = params.grey_limits
    exposure = _Exposure(
        centre=params.centre,
        axis=params.axis,
        half=0.5 * math.hypot(params.shape[1], params.shape[2]),
        fov=params.fov_radius_voxels or math.inf,
        cupping=params.cupping,
        gradient=tuple(g / n for g, n in zip(params.gradient, params.shape, strict=True)),
        shading=np.float32(params.shading),
        noise_growth=np.float32(params.noise_with_grey),
        low=low,
        span=high - low,
        most=math.inf if params.dtype == "float32" else float(np.iinfo(params.dtype).max),
    )
    out = np.empty(box.shape, params.dtype)
    start = np.asarray(box.start, dtype=np.int64)
    _expose(start, image, noise, slow, make_rings(params, box), make_streaks(params), exposure, out)
    return out


def _ghost_margin(params: PhantomParams) -> int:
    return max(map(abs, params.ghost_shift)) if params.ghost > 0 else 0


def _with_ghost(params: PhantomParams, image: Floats) -> Floats:
    """The image without its margin, overlaid with a share of itself from elsewhere."""
    margin = _ghost_margin(params)
    if margin == 0:
        return image
    here = tuple(slice(margin, n - margin) for n in image.shape)
    there = tuple(slice(margin + s, n - margin + s) for s, n in zip(params.ghost_shift, image.shape, strict=True))
    return np.asarray(image[here] + np.float32(params.ghost) * (image[there] - image[here]))


def black_out(params: PhantomParams, labels: npt.NDArray[np.uint32], box: Box) -> None:
    """Remove labels outside the field of view, in place."""
    if params.fov_radius_voxels is not None:
        y = np.arange(box.start[1], box.stop[1])[:, None] - params.axis[0]
        x = np.arange(box.start[2], box.stop[2])[None, :] - params.axis[1]
        labels[:, np.sqrt(y * y + x * x) > params.fov_radius_voxels] = 0


def _noise(params: PhantomParams, box: Box) -> Floats:
    """Noise of the wanted standard deviation; a share of its variance is correlated between neighbours."""
    if params.noise == 0.0:
        return np.zeros(box.shape, np.float32)
    rough = white_noise(key(params.seed, 21), box) * np.float32(params.noise * math.sqrt(1 - params.noise_correlated))
    kernel = gaussian_kernel(params.noise_correlation_voxels)
    if params.noise_correlated == 0.0:
        return np.asarray(rough)
    radius = len(kernel) // 2
    outer = Box(
        (box.start[0] - radius, box.start[1] - radius, box.start[2] - radius),
        (box.stop[0] + radius, box.stop[1] + radius, box.stop[2] + radius),
    )
    smooth = convolve(white_noise(key(params.seed, 22), outer), kernel)
    strength = params.noise * math.sqrt(params.noise_correlated) / float((kernel**2).sum()) ** 1.5
    rough += np.float32(strength) * smooth
    return np.asarray(rough)


class _Exposure(NamedTuple):
    """How grey values become numbers; places in voxels, gradient per voxel."""

    centre: tuple[float, float, float]
    axis: tuple[float, float]
    half: float
    fov: float
    cupping: float
    gradient: tuple[float, ...]
    shading: np.float32
    noise_growth: np.float32
    low: float
    span: float
    most: float


@njit(nogil=True, cache=True)
def _expose(
    start: npt.NDArray[np.int64],
    image: Floats,
    noise: Floats,
    slow: Floats,
    rings: Rings,
    streaks: Streaks,
    e: _Exposure,
    out: npt.NDArray[Any],
) -> None:
    one = np.float32(1.0)
    nz, ny, nx = image.shape
    slowly = slow.shape == image.shape
    ringed, streaked = rings.strength.shape[1] > 1, len(streaks.rays) > 0
    for z in range(nz):
        for y in range(ny):
            dy = (y + start[1]) - e.axis[0]
            tilt = e.gradient[0] * ((z + start[0]) - e.centre[0]) + e.gradient[1] * ((y + start[1]) - e.centre[1])
            for x in range(nx):
                dx = (x + start[2]) - e.axis[1]
                r = np.sqrt(dy * dy + dx * dx)
                if r > e.fov:
                    out[z, y, x] = 0
                    continue
                v = image[z, y, x]
                growth = one + e.noise_growth * max(v, np.float32(0.0))
                rise = r / e.half
                factor = np.float32(
                    1.0 + e.cupping * (rise * rise - 0.25) + tilt + e.gradient[2] * ((x + start[2]) - e.centre[2])
                )
                if slowly:
                    factor += e.shading * slow[z, y, x]
                v = v * max(factor, _LEAST)
                if ringed:
                    v += ring_at(rings, z, dy, dx)
                if streaked:
                    v += streak_at(streaks, z + start[0], y + start[1], x + start[2])
                v += noise[z, y, x] * np.sqrt(growth)
                value = e.low + e.span * v
                if e.most < 1e300:
                    value = np.floor(min(max(value, 0.0), e.most) + 0.5)
                out[z, y, x] = value
