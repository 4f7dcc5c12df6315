"""A scan of balls of one size: what the bundled network knows best, small enough for a look of seconds."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter


def balls(side: int, radius: int) -> npt.NDArray[np.uint16]:
    """Bright balls on a lattice, some of them left out, in noise."""
    rng = np.random.default_rng(0)
    grid = np.indices((side,) * 3)
    solid = np.zeros((side,) * 3, bool)
    pitch = 2 * radius + 3
    for centre in product(range(pitch // 2, side - radius, pitch), repeat=3):
        if rng.random() < 0.8:
            solid |= sum((a - c) ** 2 for a, c in zip(grid, centre, strict=True)) < radius**2
    return (1000 + 400 * gaussian_filter(solid.astype(float), 0.6) + rng.normal(0, 20, solid.shape)).astype(np.uint16)
