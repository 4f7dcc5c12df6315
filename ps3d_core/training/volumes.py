"""Training volumes: phantoms as inference would see them, on the network grid and normalised.

What varies is what varies between users: the resolution of the scan, how roughly the particle size was given (the
network then sees particles larger or smaller than it was promised), and how much of the field of view holds
particles when the grey values are measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.resample import resample_image
from ps3d_core.network.normalisation import PerScan
from ps3d_core.phantom.draws import log_uniform
from ps3d_core.phantom.params import Family
from ps3d_core.phantom.render import Phantom
from ps3d_core.phantom.variety import random_params
from ps3d_core.quantities import TargetParticleSize

FloatVolume = npt.NDArray[np.float32]

_SAMPLE_SIDE: Final = 16
_SAMPLED_BLOCKS: Final = 384
_SMALLEST_VIEW: Final = 0.35
_PARTICLE_SIZES: Final[dict[Family, tuple[float, float]]] = {
    "training": (11.0, 44.0),
    "wide": (6.0, 44.0),
    "held-out": (16.0, 38.0),
    "dem": (16.0, 34.0),
}


class VolumeParams(BaseModel):
    """Parameters of training volumes. Lengths are voxels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_particle_size: TargetParticleSize = 20.0
    """Mean particle diameter on the network grid, when the particle size was given exactly."""
    edge: int = Field(default=128, ge=16)
    """Edge of a volume on the network grid."""
    largest_scan_edge: int = Field(default=224, ge=16)
    """Phantoms of high resolution cover less of the network grid instead of growing beyond this."""
    family: Family = "training"
    """What phantoms are drawn from."""
    particle_size: tuple[float, float] = Field(default_factory=lambda fields: _PARTICLE_SIZES[fields["family"]])
    """Range of the mean particle diameter on the scan grid."""
    claimed_size_error: tuple[float, float] = (0.75, 1.35)
    """Range of given particle size / true one."""


@dataclass(frozen=True)
class Volume:
    """One phantom on the network grid: grey values float16, normalised; instance labels uint16."""

    image: npt.NDArray[np.float16]
    labels: npt.NDArray[np.uint16]


def training_volume(seed: int, params: VolumeParams) -> Volume:
    """Return the training volume of a seed; equal seeds give equal volumes."""
    rng = np.random.default_rng([seed, 20])
    diameter = log_uniform(rng, params.particle_size)
    zoom = params.target_particle_size / (diameter * log_uniform(rng, params.claimed_size_error))
    edge = min(params.largest_scan_edge, round(params.edge / zoom))
    scan_shape = (edge, edge, edge)
    phantom = Phantom(random_params(seed, scan_shape, diameter, family=params.family))
    grey, labels = phantom.render(Box.of(scan_shape))

    z, y, x = (max(1, round(n * zoom)) for n in scan_shape)
    image = resample_image(grey, (z, y, x))
    intensity = PerScan().intensity(_sampled_blocks(_field_of_view(image, rng), rng))
    return Volume(intensity.normalise(image).astype(np.float16), nearest_labels(labels, (z, y, x)).astype(np.uint16))


def nearest_labels(labels: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    """Return labels on a grid of `shape`: each voxel takes the label at its centre."""
    index = [
        np.clip(np.floor((np.arange(target) + 0.5) * (source / target)).astype(np.intp), 0, source - 1)
        for source, target in zip(labels.shape, shape, strict=True)
    ]
    return labels[np.ix_(*index)]


def _field_of_view(image: FloatVolume, rng: np.random.Generator) -> FloatVolume:
    """All of the scan or a random part of it: grey values are measured on whatever a user has cut out."""
    if rng.random() < 0.5:
        return image
    extent = [max(_SAMPLE_SIDE, round(n * rng.uniform(_SMALLEST_VIEW, 1.0))) for n in image.shape]
    starts = [int(rng.integers(0, n - e + 1)) for n, e in zip(image.shape, extent, strict=True)]
    return image[tuple(slice(s, s + e) for s, e in zip(starts, extent, strict=True))]


def _sampled_blocks(image: FloatVolume, rng: np.random.Generator) -> FloatVolume:
    """(n, 16, 16, 16) blocks at random places, of the size and on the grid that inference samples."""
    starts = [rng.integers(0, n - _SAMPLE_SIDE + 1, _SAMPLED_BLOCKS) for n in image.shape]
    side = _SAMPLE_SIDE
    return np.stack([image[z : z + side, y : y + side, x : x + side] for z, y, x in zip(*starts, strict=True)])
