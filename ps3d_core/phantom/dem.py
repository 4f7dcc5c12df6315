"""The DEM family: packings as discrete element simulations have them, for validation.

Spheres, or polyhedra, at random close density, that touch in points and fill the scan to its faces; the scanner blurs
and its noise is coarse. Ranges differ from those of the wide family's dense scenes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ps3d_core.phantom.draws import log_uniform, sometimes
from ps3d_core.phantom.params import Mineral


def dem_params(rng: np.random.Generator, size: float) -> dict[str, Any]:
    """Return the parameters of a phantom of the DEM family; size: mean particle diameter in voxels."""
    background, contrast = rng.uniform(0.1, 0.3), rng.uniform(0.25, 0.5)
    spheres = rng.random() < 0.5
    fewest = int(rng.integers(6, 10))
    return {
        "dtype": "uint16",
        "fill_fraction": rng.uniform(0.57, 0.62),
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
        "blur_voxels": min(rng.uniform(0.7, 1.3), 0.06 * size),
        "noise": contrast / log_uniform(rng, (4.5, 10.0)),
        "noise_correlated": rng.uniform(0.6, 0.95),
        "noise_correlation_voxels": rng.uniform(0.9, 1.7),
        "rings": contrast * sometimes(rng, 0.3, 0.05, 0.15),
        "shading": sometimes(rng, 0.5, 0.02, 0.08),
    }
