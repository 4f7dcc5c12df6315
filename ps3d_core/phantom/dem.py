"""The DEM family: packings as discrete element simulations have them, for validation.

Spheres, or polyhedra, at random close density, that touch in points; the scanner blurs and its noise is coarse. Ranges
differ from those of the wide family's dense scenes. As in a simulation the packing fills a box, a little smaller than
the scan: no face cuts off slivers, which nobody could find, so that nearly all of the error is that of touching
particles.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ps3d_core.geometry.boxes import Shape
from ps3d_core.phantom.draws import log_uniform, sometimes
from ps3d_core.phantom.params import Mineral, Wall

_MARGIN: Final = 2.0  # voxels between the box and the faces of the scan


def dem_params(rng: np.random.Generator, shape: Shape, size: float) -> dict[str, Any]:
    """Return the parameters of a phantom of the DEM family; size: mean particle diameter in voxels."""
    background, contrast = float(rng.uniform(0.1, 0.3)), rng.uniform(0.25, 0.5)
    spheres = rng.random() < 0.5
    fewest = int(rng.integers(6, 10))
    return {
        "dtype": "uint16",
        "fill_fraction": rng.uniform(0.57, 0.61),
        "contact": 0.005,
        "cohesion": 0.0,
        "relaxation_steps": 240,
        "gap_fraction": 0.0,
        "size_sigma": rng.uniform(0.06, 0.26),
        "angular_fraction": 0.0 if spheres else 1.0,
        "rounded_cuts": 0,
        "facets": (fewest, fewest + 5),
        "edge_rounding": rng.uniform(0.03, 0.12),
        "elongation": 1.0 if spheres else rng.uniform(1.1, 1.5),
        "flatness": 1.0 if spheres else rng.uniform(1.0, 1.3),
        "lumpiness": 0.0,
        "roughness_voxels": 0.0 if spheres else 0.2,
        "minerals": (Mineral(grey=background + contrast, texture=0.06 * contrast),),
        "grey_variation": contrast * rng.uniform(0.02, 0.06),
        "background_grey": background,
        "air_grey": background,
        "walls": _box(shape, background),
        "blur_voxels": min(rng.uniform(0.7, 1.3), 0.06 * size),
        "noise": contrast / log_uniform(rng, (4.5, 10.0)),
        "noise_correlated": rng.uniform(0.6, 0.95),
        "noise_correlation_voxels": rng.uniform(0.9, 1.7),
        "rings": contrast * sometimes(rng, 0.3, 0.05, 0.15),
        "shading": sometimes(rng, 0.5, 0.02, 0.08),
    }


def _box(shape: Shape, background: float) -> tuple[Wall, ...]:
    """Six walls that cannot be seen."""
    walls = []
    for axis, n in enumerate(shape):
        for sign in (-1.0, 1.0):
            normal = [0.0, 0.0, 0.0]
            normal[axis] = sign
            offset = max(0.5 * n - _MARGIN, 0.25 * n)
            walls.append(Wall(normal=(normal[0], normal[1], normal[2]), offset_voxels=offset, grey=background))
    return tuple(walls)
