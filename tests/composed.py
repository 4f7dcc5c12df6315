"""Particles of known minerals: drawn on a grid three times as fine, so that shares are known below a voxel.

Each lies in a cell of its own. What is truth is counted on the fine grid; the scan is its mean over voxels, blurred,
with noise.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ps3d_core.particles.whole import MARGIN, Cutout

FINE = 3
KINDS = ("pure", "halves", "inclusions", "grains")
"""Of particles; others, "rim", have a layer around them of 0.08 to 0.2 diameters."""


@dataclass(frozen=True)
class Composed:
    """Particles of an assemblage, and what they are made of.

    truth: (n, m) shares of the minerals in the volume of each particle; surface: their shares of its surface.
    """

    labels: npt.NDArray[np.uint32]
    grey: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float64]
    surface: npt.NDArray[np.float64]
    voxels: npt.NDArray[np.int64]
    kinds: tuple[str, ...]

    @property
    def cutout(self) -> Cutout:
        boxes = ndimage.find_objects(self.labels.astype(np.int32))
        low = np.array([[s.start for s in box] for box in boxes], np.int32)
        high = np.array([[s.stop - 1 for s in box] for box in boxes], np.int32)
        assert low.min() >= MARGIN
        return Cutout(self.labels, np.arange(1, len(boxes) + 1, dtype=np.uint32), low, high, images={"grey": self.grey})


def composed(
    number: int,
    diameter: float,
    minerals: tuple[int, ...],
    greys: tuple[float, ...],
    *,
    background: float = 20.0,
    blur: float = 0.8,
    noise: float = 5.0,
    seed: int = 0,
    kinds: tuple[str, ...] = KINDS,
    cover: float = 0.5,
) -> Composed:
    """Draw `number` particles of minerals that are `minerals` (indices into `greys`, which every phase has one of).

    Labels are where particles fill at least `cover` of a voxel after a blur of one voxel: another share than a half
    makes them too large or too small, by half a voxel at 0.3 and 0.7.
    """
    sharp, rng = drawn_before_the_scan(number, diameter, minerals, greys, background, seed, kinds, cover)
    noises = copy.deepcopy(rng).normal(0, noise, sharp.grey.shape).astype(np.float32)
    return replace(sharp, labels=sharp.labels.copy(), grey=ndimage.gaussian_filter(sharp.grey, blur) + noises)


@lru_cache(maxsize=1)
def drawn_before_the_scan(number, diameter, minerals, greys, background, seed, kinds, cover):
    """Particles before blur and noise, which take nearly all of the time, and the generator as they leave it."""
    rng = np.random.default_rng(seed)
    cell = int(np.ceil(1.35 * diameter)) + 8
    per_row = int(np.ceil(np.sqrt(number)))
    shape = (cell, per_row * cell, per_row * cell)
    labels, grey = np.zeros(shape, np.uint32), np.full(shape, background, np.float32)
    truth, surface = np.zeros((number, len(greys))), np.zeros((number, len(greys)))
    drawn = []
    values = np.array([background, *greys], np.float32)
    for i in range(number):
        kind = kinds[i % len(kinds)]
        size = diameter * rng.uniform(0.85, 1.15)
        fine = _particle(rng, cell, size, minerals, kind)
        row, column = divmod(i, per_row)
        at = (slice(None), slice(row * cell, (row + 1) * cell), slice(column * cell, (column + 1) * cell))
        filled = _coarse((fine > 0).astype(np.float32))
        labels[at][(filled if cover == 0.5 else ndimage.gaussian_filter(filled, 1.0)) > cover] = i + 1
        grey[at] = _coarse(values[fine])
        truth[i] = np.bincount(fine[fine > 0] - 1, minlength=len(greys))
        shell = fine[(fine > 0) & ndimage.binary_dilation(fine == 0)]
        surface[i] = np.bincount(shell - 1, minlength=len(greys))
        drawn.append(kind)
    truth, surface = (each / each.sum(axis=1, keepdims=True) for each in (truth, surface))
    return Composed(labels, grey, truth, surface, np.bincount(labels.ravel())[1:], tuple(drawn)), rng


def _coarse(fine: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    z, y, x = (n // FINE for n in fine.shape)
    return np.asarray(fine.reshape(z, FINE, y, FINE, x, FINE).mean(axis=(1, 3, 5)), np.float32)


def _particle(rng, cell, size, minerals, kind):
    """Numbers of the minerals, from 1, on the fine grid of one cell; 0 outside."""
    n = cell * FINE
    centre = (n - 1) / 2 + rng.uniform(-1.5, 1.5, 3)
    place = np.stack(np.meshgrid(*(np.arange(n) - c for c in centre), indexing="ij")).astype(np.float32) / FINE
    depth = size / 2 * rng.uniform(0.9, 1.05) - np.sqrt((place**2).sum(axis=0))
    for _ in range(int(rng.integers(4, 9))):
        normal = _direction(rng)
        depth = np.minimum(depth, size / 2 * rng.uniform(0.7, 1.0) - np.tensordot(normal, place, 1))
    host, guest = rng.permutation(np.array(minerals))[:2] if len(minerals) > 1 else (minerals[0], minerals[0])
    out = np.where(depth > 0, host + 1, 0)
    if kind == "halves":
        plane = np.tensordot(_direction(rng), place, 1) - size * rng.uniform(-0.25, 0.25)
        out[(plane > 0) & (depth > 0)] = guest + 1
    elif kind == "rim":
        out[(depth > 0) & (depth < size * rng.uniform(0.08, 0.2))] = guest + 1
    elif kind == "inclusions":
        for _ in range(int(rng.integers(1, 5))):
            at, radius = _direction(rng) * size * rng.uniform(0, 0.35), size * rng.uniform(0.07, 0.2)
            inside = sum((place[k] - at[k]) ** 2 for k in range(3)) < radius**2
            out[inside & (depth > 0)] = rng.choice([m for m in minerals if m != host] or [host]) + 1
    elif kind == "grains":
        seeds = rng.uniform(-size / 2, size / 2, (int(rng.integers(4, 9)), 3))
        nearest = np.argmin([((place - s[:, None, None, None]) ** 2).sum(axis=0) for s in seeds], axis=0)
        grains = rng.choice(minerals, len(seeds)) + 1
        out[depth > 0] = grains[nearest][depth > 0]
    return out


def _direction(rng):
    v = rng.standard_normal(3)
    return (v / np.linalg.norm(v)).astype(np.float32)
