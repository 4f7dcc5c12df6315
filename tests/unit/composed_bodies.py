"""A ball, and what a scanner makes of it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_core.particles.whole import Cutout

_SIDE = 31
BALL = (((np.indices((_SIDE,) * 3) - _SIDE // 2) ** 2).sum(axis=0)) < 11.5**2


def scanned(truth, blur=0.8, noise=2.0):
    rng = np.random.default_rng(5)
    return (ndimage.gaussian_filter(truth.astype(np.float32), blur) + rng.normal(0, noise, truth.shape)).astype("f4")


def cutout_of(inside, grey, **images):
    where = np.argwhere(inside)
    low, high = where.min(axis=0, keepdims=True).astype(np.int32), where.max(axis=0, keepdims=True).astype(np.int32)
    return Cutout(inside.astype(np.uint32), np.array([1], np.uint32), low, high, images={"grey": grey, **images})
