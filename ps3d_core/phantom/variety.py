"""Random phantoms: how widely they vary decides how well a network trained on them carries over to real scanners.

The training family is drawn as wide as scans get: from clean synchrotron data to a noisy bench-top scanner, from single
grains in epoxy to a tube of packed sand. The held-out family draws from other ranges (not merely other seeds), so that
validation on it says something about scans that no phantom resembles. The wide family adds to the training family what
it lacks (`wide`); the DEM family is a second one to validate on, of close packings only (`dem`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ps3d_core.geometry.boxes import Shape
from ps3d_core.phantom.dem import dem_params
from ps3d_core.phantom.draws import Range, log_uniform, sometimes
from ps3d_core.phantom.params import FAMILIES, Family, Mineral, PhantomParams, Tube
from ps3d_core.phantom.wide import widen


@dataclass(frozen=True)
class _Family:
    """Ranges that parameters are drawn from; `log_` ones evenly on a logarithmic scale."""

    size_sigma: Range
    fill: Range
    contact: Range
    gap: Range
    angular: Range
    rounding: Range
    elongation: Range
    flatness: Range
    lumpiness: Range
    log_contrast: Range
    log_contrast_to_noise: Range
    correlation: Range
    blur: Range
    texture: Range
    tube: float
    fov: float
    cupping: float
    gradient: float
    shading: float
    rings: float


_TRAINING = _Family(
    size_sigma=(0.12, 0.5), fill=(0.05, 0.6), contact=(-0.05, 0.12), gap=(0.2, 1.6), angular=(0.0, 1.0),
    rounding=(0.0, 0.35), elongation=(1.0, 2.1), flatness=(1.0, 1.9), lumpiness=(0.0, 0.2), log_contrast=(0.12, 0.6),
    log_contrast_to_noise=(2.5, 40.0), correlation=(0.4, 1.5), blur=(0.35, 1.5), texture=(0.0, 0.1),
    tube=0.45, fov=0.35, cupping=0.3, gradient=0.25, shading=0.12, rings=0.35,
)  # fmt: skip
_HELD_OUT = _Family(
    size_sigma=(0.2, 0.42), fill=(0.12, 0.52), contact=(0.0, 0.08), gap=(0.3, 1.0), angular=(0.25, 0.75),
    rounding=(0.1, 0.5), elongation=(1.3, 2.4), flatness=(1.1, 2.1), lumpiness=(0.05, 0.24), log_contrast=(0.18, 0.7),
    log_contrast_to_noise=(4.0, 14.0), correlation=(0.9, 1.9), blur=(0.5, 1.2), texture=(0.03, 0.14),
    tube=0.5, fov=0.5, cupping=0.4, gradient=0.35, shading=0.16, rings=0.6,
)  # fmt: skip


def random_params(seed: int, shape: Shape, particle_size_voxels: float, family: Family) -> PhantomParams:
    """Return parameters of a random phantom.

    All but shape, particle size and seed is drawn from the ranges of `family`.
    """
    rng = np.random.default_rng([seed, FAMILIES.index(family), 77])
    if family == "dem":
        drawn = dem_params(rng, shape, particle_size_voxels)
    else:
        drawn = _drawn(rng, _HELD_OUT if family == "held-out" else _TRAINING, shape, particle_size_voxels)
        if family == "wide":
            drawn = widen(rng, drawn, shape, particle_size_voxels)
    return PhantomParams.model_validate(
        {"shape": shape, "particle_size_voxels": particle_size_voxels, "seed": seed, **drawn}
    )


def _drawn(rng: np.random.Generator, ranges: _Family, shape: Shape, size: float) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    for part in (_arrangement, _shapes, _materials, _scanner):
        drawn |= part(rng, ranges, shape, size)
    background = float(rng.uniform(0.05, 0.45))
    return drawn | _greys(rng, ranges, background, shape, size)


def _arrangement(rng: np.random.Generator, f: _Family, shape: Shape, size: float) -> dict[str, Any]:
    return {
        "size_sigma": rng.uniform(*f.size_sigma),
        "fill_fraction": rng.uniform(*f.fill),
        "contact": rng.uniform(*f.contact),
        "cohesion": rng.uniform(0.0, 1.0),
        "gap_fraction": rng.uniform(0.0, 0.9),
        "gap_voxels": rng.uniform(*f.gap),
    }


def _shapes(rng: np.random.Generator, f: _Family, shape: Shape, size: float) -> dict[str, Any]:
    fewest = int(rng.integers(5, 10))
    return {
        "angular_fraction": rng.uniform(*f.angular),
        "facets": (fewest, fewest + int(rng.integers(0, 7))),
        "edge_rounding": rng.uniform(*f.rounding),
        "elongation": rng.uniform(*f.elongation),
        "flatness": rng.uniform(*f.flatness),
        "lumpiness": rng.uniform(*f.lumpiness),
        "roughness_voxels": rng.uniform(0.0, min(1.0, 0.03 * size + 0.2)),
    }


def _materials(rng: np.random.Generator, f: _Family, shape: Shape, size: float) -> dict[str, Any]:
    return {
        "texture_voxels": rng.uniform(1.2, 4.0),
        "grain_voxels": rng.uniform(0.2, 0.6) * size + 1.5,
        "composite_fraction": sometimes(rng, 0.5, 0.05, 0.5),
        "inclusion_fraction": sometimes(rng, 0.6, 0.05, 0.9),
        "inclusion_radius": rng.uniform(0.05, 0.2),
        "pore_fraction": sometimes(rng, 0.4, 0.05, 0.6),
        "crack_fraction": sometimes(rng, 0.4, 0.05, 0.4),
        "crack_voxels": rng.uniform(0.3, 1.2),
    }


def _greys(rng: np.random.Generator, f: _Family, background: float, shape: Shape, size: float) -> dict[str, Any]:
    """Grey values, and what is measured in units of the contrast between particles and background."""
    contrast = log_uniform(rng, f.log_contrast)
    air = background if rng.random() < 0.45 else max(0.02, background - contrast * rng.uniform(0.1, 0.9))
    minerals = [Mineral(grey=background + contrast, weight=1.0, texture=contrast * rng.uniform(*f.texture))]
    for _ in range(int(rng.integers(0, 4))):
        factor = float(rng.choice([rng.uniform(0.65, 0.95), rng.uniform(1.05, 2.2)]))
        texture = min(0.5, contrast * factor * rng.uniform(*f.texture))
        grey = min(4.0, background + contrast * factor)
        minerals.append(Mineral(grey=grey, weight=rng.uniform(0.05, 0.8), texture=texture))
    tube, fov, axis = _surroundings(rng, f, background, contrast, shape, size)
    return {
        "background_grey": background,
        "background_texture": contrast * sometimes(rng, 0.4, 0.01, 0.06),
        "bubble_density": sometimes(rng, 0.2, 0.05, 0.4) if air < background else 0.0,
        "air_grey": air,
        "minerals": tuple(minerals),
        "grey_variation": contrast * rng.uniform(0.0, 0.08),
        "inclusion_grey": contrast * rng.uniform(0.3, 2.0),
        "rim": contrast * sometimes(rng, 0.3, -0.12, 0.2),
        "tube": tube,
        "fov_radius_voxels": fov,
        "axis_offset_voxels": axis,
        "noise": contrast / log_uniform(rng, f.log_contrast_to_noise),
        "rings": contrast * sometimes(rng, f.rings, 0.03, 0.35),
    }


def _surroundings(
    rng: np.random.Generator, f: _Family, background: float, contrast: float, shape: Shape, size: float
) -> tuple[Tube | None, float | None, tuple[float, float]]:
    """Tube, field of view and rotation axis: all of it, a part of it or nothing may be in the volume."""
    small, large = sorted(shape[1:])
    tube = None
    if rng.random() < f.tube:
        # from a whole thin tube amid air to no more than one curved side of a wide one
        radius = max(2.2 * size, small * rng.uniform(0.24, 0.75))
        slack = max(0.0, 0.5 * small - 0.4 * radius)
        offset = (float(rng.uniform(-slack, slack)), float(rng.uniform(-slack, slack)))
        wall = min(max(2.0, size * float(rng.uniform(0.1, 1.6))), 0.4 * radius)
        grey = float(np.clip(background + contrast * rng.uniform(0.15, 2.2), 0.0, 4.0))
        tube = Tube(radius_voxels=radius, wall_voxels=wall, centre_offset_voxels=offset, grey=grey)
    axis = (float(rng.uniform(-0.3, 0.3) * shape[1]), float(rng.uniform(-0.3, 0.3) * shape[2]))
    fov = None
    if rng.random() < f.fov:
        axis = (axis[0] * 0.2, axis[1] * 0.2)
        fov = max(2.0 * size, 0.5 * large * float(rng.uniform(0.85, 1.3)))
    return tube, fov, axis


def _scanner(rng: np.random.Generator, f: _Family, shape: Shape, size: float) -> dict[str, Any]:
    dtype = str(rng.choice(["uint8", "uint16", "float32"]))
    if dtype == "uint8":
        low = rng.uniform(0, 60)
        limits = (low, low + rng.uniform(60, 220))
    elif dtype == "uint16":
        low = rng.uniform(0, 20000)
        limits = (low, low + rng.uniform(3000, 40000))
    else:
        low = rng.uniform(-0.5, 0.5)
        limits = (low, low + log_uniform(rng, (0.01, 100.0)))
    return {
        "dtype": dtype,
        "grey_range": limits,
        # a blur wider than a tenth of a particle would hide most of them
        "blur_voxels": min(float(rng.uniform(*f.blur)), 0.2 + 0.07 * size),
        "sharpening": sometimes(rng, 0.35, 0.1, 0.9),
        "noise_correlated": rng.uniform(0.0, 1.0),
        "noise_correlation_voxels": min(float(rng.uniform(*f.correlation)), 0.3 + 0.07 * size),
        "noise_with_grey": sometimes(rng, 0.5, 0.1, 2.0),
        "ring_voxels": rng.uniform(0.8, 3.0),
        "cupping": sometimes(rng, 0.5, -0.4 * f.cupping, f.cupping),
        "gradient": tuple(sometimes(rng, 0.4, -f.gradient, f.gradient) for _ in range(3)),
        "shading": sometimes(rng, 0.4, 0.02, f.shading),
        "shading_voxels": max(20.0, rng.uniform(0.3, 1.0) * max(shape)),
    }
