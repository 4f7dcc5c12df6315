"""Patches for training: where they are cut, how they are turned, and how their grey values are varied.

Most patches are centred on particles. Some are centred on what is bright and no particle, above all the wall of the
tube, which has the grey value of particles and only its shape gives it away; the others come from anywhere, since air
and black corners have to be learnt as well. Some are thin slabs filled up by reflection, which is what inference makes
of a scan with few slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from ps3d_core.quantities import BorderThickness
from ps3d_core.training.targets import BORDER, CORE, border_core
from ps3d_core.training.volumes import Volume
from ps3d_core.training.walls import with_wall

FloatPatch = npt.NDArray[np.float32]
Classes = npt.NDArray[np.uint8]


class Patch(NamedTuple):
    """Image, classes that it should become, and weight of each voxel in the loss; all (z, y, x)."""

    image: FloatPatch
    classes: Classes
    weights: FloatPatch


class Batch(NamedTuple):
    """Several patches: images (B, 1, z, y, x) float32, classes (B, z, y, x) int64, weights (B, z, y, x) float32."""

    images: FloatPatch
    classes: npt.NDArray[np.int64]
    weights: FloatPatch


_CENTRES_PER_VOLUME: Final = 4096
_NOWHERE: Final = np.empty((0, 3), np.int64)
_BRIGHT: Final = 0.2  # normalised; 0 is half-way between particles and what surrounds them
_SMALLEST_BRIGHT_PART: Final = 200


class _Centres(NamedTuple):
    """Voxels (n, 3) of a volume that patches may be centred on: of particles, and of what is bright and none."""

    particle: npt.NDArray[np.int64]
    bright: npt.NDArray[np.int64]


class PatchParams(BaseModel):
    """Parameters of drawing patches. Probabilities are per patch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edge: int = Field(default=64, ge=8)
    border_thickness: BorderThickness = 2.0
    on_particle: float = Field(default=0.64, ge=0, le=1)
    on_bright_background: float = Field(default=0.18, ge=0, le=1)
    slab: float = Field(default=0.15, ge=0, le=1)
    slab_depth: tuple[int, int] = (5, 20)
    """Fewest and most slices of a slab, on the network grid."""
    wall: float = Field(default=0.0, ge=0, le=1)
    """Share of patches that a wall is put into."""
    border_weight: float = Field(default=1.0, gt=0)
    """Weight of border voxels in the loss. Above 1 the network separates particles when in doubt."""
    contact_weight: float = Field(default=1.0, gt=0)
    """Weight of voxels where two particles meet: few, but one fused pair is two particles lost."""


class PatchSampler:
    """Sampler of augmented patches from volumes: a batch follows from the seed and its number."""

    def __init__(self, volumes: Sequence[Volume], params: PatchParams, seed: int) -> None:
        self._params = params
        self._seed = seed
        self._extent = params.edge + 2 * math.ceil(params.border_thickness)
        self._volumes = [_at_least(volume, self._extent) for volume in volumes]
        self._known_centres: dict[int, _Centres] = {}

    def batch(self, number: int, size: int) -> Batch:
        """Return batch `number`, of `size` patches, whatever batches were made before it."""
        rng = np.random.default_rng([self._seed, 22, number])
        images, classes, weights = zip(*(self.patch(rng) for _ in range(size)), strict=True)
        return Batch(np.stack(images)[:, None], np.stack(classes).astype(np.int64), np.stack(weights))

    def patch(self, rng: np.random.Generator) -> Patch:
        """Return the next patch that `rng` draws."""
        image, labels = self._cut(rng)
        if rng.random() < self._params.wall:
            image, labels = with_wall(image, labels, rng)
        classes = border_core(labels, self._params.border_thickness)
        patch = [image, classes, voxel_weights(labels, classes, self._params)]
        edge = self._params.edge
        if image.shape[0] < edge:
            patch = _fill_by_reflection(patch, edge, rng)
        inner = tuple(slice((n - edge) // 2, (n - edge) // 2 + edge) for n in patch[0].shape)
        image, classes, weights = _turned([array[inner] for array in patch], rng)
        return Patch(vary_grey(image.astype(np.float32), rng), classes, weights)

    def _cut(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.uint16]]:
        """A box one border wider than a patch, or a slab of it that is as thin as its scan."""
        params = self._params
        which = int(rng.integers(len(self._volumes)))
        volume, extent = self._volumes[which], self._extent
        room = [n - extent for n in volume.image.shape]
        centres = self._centres(which, rng)
        if len(centres):
            centre = centres[rng.integers(len(centres))]
            start = [int(np.clip(c - extent // 2, 0, r)) for c, r in zip(centre, room, strict=True)]
        else:
            start = [int(rng.integers(0, r + 1)) for r in room]
        box = [slice(s, s + extent) for s in start]
        if rng.random() < params.slab:
            depth = int(rng.integers(params.slab_depth[0], params.slab_depth[1] + 1))
            middle = start[0] + extent // 2
            box[0] = slice(middle - depth // 2, middle - depth // 2 + depth)
        return volume.image[tuple(box)], volume.labels[tuple(box)]

    def _centres(self, which: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Where the next patch may be centred; empty for anywhere."""
        if which not in self._known_centres:  # when a volume is drawn for the first time: training begins at once
            self._known_centres[which] = _find_centres(self._volumes[which], [self._seed, 21, which])
        kind = rng.random()
        if kind < self._params.on_particle:
            return self._known_centres[which].particle
        if kind < self._params.on_particle + self._params.on_bright_background:
            return self._known_centres[which].bright
        return _NOWHERE


def voxel_weights(labels: npt.NDArray[np.uint16], classes: Classes, params: PatchParams) -> FloatPatch:
    """Return the weight of each voxel in the loss: 1, more on borders, and more again where two particles meet.

    Particles meet where the cube that reaches as far as a border holds voxels of two of them. This takes in the gap
    between particles that only just do not touch; cores are left out, they are on the safe side.
    """
    window = 2 * math.ceil(params.border_thickness) + 1
    highest = ndimage.maximum_filter(labels, window)
    lowest = ndimage.minimum_filter(np.where(labels == 0, np.iinfo(labels.dtype).max, labels), window)
    meet = (lowest < highest) & (classes != CORE)
    weights = np.where(classes == BORDER, np.float32(params.border_weight), np.float32(1.0))
    weights[meet] = params.contact_weight
    return np.asarray(weights, dtype=np.float32)


def vary_grey(image: FloatPatch, rng: np.random.Generator) -> FloatPatch:
    """Return a patch as another scanner might have delivered it, float32.

    It varies in blur, noise, shading, gamma, gain and offset.
    """
    if rng.random() < 0.25:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0))
    if rng.random() < 0.15:
        image = _coarser(image, rng.uniform(0.5, 0.9))
    if rng.random() < 0.25:
        image = image + _noise(image.shape, rng)
    if rng.random() < 0.25:
        image = image * (1 + rng.uniform(0.0, 0.35) * _ramp(image.shape, rng))
    if rng.random() < 0.4:
        image = _gamma(image, float(np.exp(rng.uniform(-0.45, 0.45))))
    gain, offset = np.exp(rng.uniform(-0.7, 0.7)), rng.normal(0.0, 0.4)
    return np.asarray(image * gain + offset, dtype=np.float32)


def _at_least(volume: Volume, extent: int) -> Volume:
    """The volume, continued by reflection where it is smaller than `extent`."""
    missing = [max(0, extent - n) for n in volume.image.shape]
    if not any(missing):
        return volume
    pad = [(m // 2, m - m // 2) for m in missing]
    return Volume(np.pad(volume.image, pad, mode="reflect"), np.pad(volume.labels, pad, mode="reflect"))


def _find_centres(volume: Volume, seed: Sequence[int]) -> _Centres:
    rng = np.random.default_rng(seed)
    return _Centres(_particle_voxels(volume, rng), _bright_background_voxels(volume, rng))


def _particle_voxels(volume: Volume, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A sample (n, 3) of particle voxels, drawn evenly over particles.

    Even over particles, not voxels: otherwise the small ones, which are many and hard, hardly ever come up.
    """
    positions = np.flatnonzero(volume.labels)
    if not positions.size:
        return _NOWHERE
    ids = volume.labels.ravel()[positions]
    weights = 1.0 / np.bincount(ids)[ids]
    chosen = rng.choice(positions, _CENTRES_PER_VOLUME, p=weights / weights.sum())
    return np.stack(np.unravel_index(chosen, volume.labels.shape), axis=1)


def _bright_background_voxels(volume: Volume, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A sample (n, 3) of voxels that lie inside something as bright as particles and not a particle."""
    bright = ndimage.binary_erosion((volume.labels == 0) & (volume.image > _BRIGHT), iterations=2)
    positions = np.flatnonzero(bright)
    if positions.size < _SMALLEST_BRIGHT_PART:
        return _NOWHERE
    return np.stack(np.unravel_index(rng.choice(positions, _CENTRES_PER_VOLUME), bright.shape), axis=1)


def _fill_by_reflection(
    patch: Sequence[npt.NDArray[Any]], edge: int, rng: np.random.Generator
) -> list[npt.NDArray[Any]]:
    missing = edge - patch[0].shape[0]
    before = int(rng.integers(0, missing + 1))
    pad = ((before, missing - before), (0, 0), (0, 0))
    return [np.pad(array, pad, mode="reflect") for array in patch]


def _turned(patch: Sequence[npt.NDArray[Any]], rng: np.random.Generator) -> list[npt.NDArray[Any]]:
    """One of the 48 symmetries of the cube."""
    axes = rng.permutation(3)
    flips = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(3))
    return [np.ascontiguousarray(array.transpose(axes)[flips]) for array in patch]


def _coarser(image: FloatPatch, factor: float) -> FloatPatch:
    """Detail lost as if scanned with fewer voxels."""
    small = ndimage.zoom(image, factor, order=1, grid_mode=True, mode="nearest")
    back = [n / m for n, m in zip(image.shape, small.shape, strict=True)]
    return np.asarray(ndimage.zoom(small, back, order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> FloatPatch:
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, rng.uniform(0.4, 1.0))
        noise /= noise.std()
    return np.asarray(noise * np.float32(rng.uniform(0.03, 0.35)), dtype=np.float32)


def _ramp(shape: tuple[int, ...], rng: np.random.Generator) -> FloatPatch:
    """A linear change from -1 to 1 in a random direction."""
    direction = rng.standard_normal(3)
    direction /= np.abs(direction).sum()
    axes = [d * np.linspace(-1, 1, n) for d, n in zip(direction, shape, strict=True)]
    return np.asarray(axes[0][:, None, None] + axes[1][:, None] + axes[2], dtype=np.float32)


def _gamma(image: FloatPatch, exponent: float) -> FloatPatch:
    low, high = float(image.min()), float(image.max())
    if high <= low:
        return image
    unit = (image - low) / (high - low)
    return np.asarray(unit**exponent * (high - low) + low, dtype=np.float32)
