"""What a scanner makes of a scene: blur, shading, rings, noise, numbers of a dtype, black corners."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.fields import convolve, gaussian_kernel, hash3, key, smooth_field, unit, white_noise
from ps3d_core.phantom.params import PhantomParams

Floats = npt.NDArray[np.float32]

_LEAST = np.float32(0.05)  # shading never darkens by more than to a twentieth
_RING_SLICES = 24.0  # rings persist over about this many slices


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
    """Return the image of `box` in the dtype of the phantom, from grey values of the box grown by the blur's radius."""
    image = convolve(scene, point_spread(params))
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
        ring_voxels=params.ring_voxels,
        low=low,
        span=high - low,
        most=math.inf if params.dtype == "float32" else float(np.iinfo(params.dtype).max),
    )
    out = np.empty(box.shape, params.dtype)
    start = np.asarray(box.start, dtype=np.int64)
    _expose(start, image, noise, slow, _ring_table(params, box), exposure, out)
    return out


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


def _ring_table(params: PhantomParams, box: Box) -> Floats:
    """Ring strength per slice of the box and lattice radius; most rings are weak, few are strong."""
    if params.rings == 0.0:
        return np.zeros((box.shape[0], 1), np.float32)
    ay, ax = params.axis
    dy = max(abs(box.start[1] - ay), abs(box.stop[1] - ay))
    dx = max(abs(box.start[2] - ax), abs(box.stop[2] - ax))
    table = np.empty((box.shape[0], int(math.hypot(dy, dx) / params.ring_voxels) + 3), np.float32)
    _fill_rings(key(params.seed, 23), box.start[0], table)
    return np.asarray(table * np.float32(params.rings))


@njit(nogil=True, cache=True)
def _fill_rings(seed: np.uint64, z0: int, table: Floats) -> None:
    for z in range(table.shape[0]):
        position = (z + z0) / _RING_SLICES
        cell = int(np.floor(position))
        t = np.float32(position - cell)
        for r in range(table.shape[1]):
            a = np.float32(2.0) * unit(hash3(seed, cell, r, 0)) - np.float32(1.0)
            b = np.float32(2.0) * unit(hash3(seed, cell + 1, r, 0)) - np.float32(1.0)
            v = a + t * (b - a)
            table[z, r] = v * v * v


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
    ring_voxels: float
    low: float
    span: float
    most: float


@njit(nogil=True, cache=True)
def _expose(
    start: npt.NDArray[np.int64],
    image: Floats,
    noise: Floats,
    slow: Floats,
    rings: Floats,
    e: _Exposure,
    out: npt.NDArray[Any],
) -> None:
    one = np.float32(1.0)
    nz, ny, nx = image.shape
    slowly = slow.shape == image.shape
    ringed = rings.shape[1] > 1
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
                    i = int(r / e.ring_voxels)
                    f = np.float32(r / e.ring_voxels - i)
                    v += rings[z, i] + f * (rings[z, i + 1] - rings[z, i])
                v += noise[z, y, x] * np.sqrt(growth)
                value = e.low + e.span * v
                if e.most < 1e300:
                    value = np.floor(min(max(value, 0.0), e.most) + 0.5)
                out[z, y, x] = value
