"""Particle size distribution: how much of the material is finer than a given size.

Sizes are equivalent sphere diameters. A sample of particles is weighted by volume (the convention of the industry)
or by number; what a sieve gives, and all else that laboratories ask of sizes, is in granulometry. The distribution
function is that of Hazen: a particle stands in the middle of its own weight, so that the function is symmetric in fine
and coarse,

    passing(d_i) = (weight finer than particle i + half the weight of particle i) / total weight,

with straight lines between particles and flat ends. D10, D50 and D90 are read from it. With equal weights D50 is
the ordinary median. Weights are whole voxels, so no figure depends on the order of the particles.
"""

from __future__ import annotations

from math import pi
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.geometry.spacing import StatedSpacing, mean_spacing

Weighting = Literal["volume", "number"]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class SizeDistribution(BaseModel):
    """Characteristic diameters (mm) of a sample of particles under one weighting."""

    model_config = ConfigDict(frozen=True)

    weighting: Weighting
    d10: float = Field(description="10 % of the material is finer, mm")
    d50: float = Field(description="half of the material is finer, mm")
    d90: float = Field(description="90 % of the material is finer, mm")

    @property
    def span(self) -> float:
        """Relative width of the distribution: (D90 - D10) / D50."""
        return (self.d90 - self.d10) / self.d50


def equivalent_diameter(voxels: npt.ArrayLike, spacing: StatedSpacing) -> Floats:
    """Return the diameter (mm) of the ball that has the volume of `voxels` voxels of edges `spacing` (mm)."""
    return np.asarray(np.cbrt(6.0 / pi * np.asarray(voxels, np.float64)) * mean_spacing(spacing), np.float64)


def volume_of(voxels: Any, spacing: StatedSpacing) -> Any:
    """Return the volume (mm3) of so many `voxels`, a number or an array, of edges `spacing` (mm)."""
    return voxels * mean_spacing(spacing) ** 3


def size_distribution(voxels: Integers, spacing: StatedSpacing, weighting: Weighting) -> SizeDistribution | None:
    """Return D10, D50 and D90 of particles of `voxels` (n,) voxels each; None when there are no particles."""
    if len(voxels) == 0:
        return None
    diameters, passing = passing_curve(voxels, spacing, weighting)
    d10, d50, d90 = np.interp((0.1, 0.5, 0.9), passing, diameters)
    return SizeDistribution(weighting=weighting, d10=float(d10), d50=float(d50), d90=float(d90))


def passing_curve(voxels: Integers, spacing: StatedSpacing, weighting: Weighting) -> tuple[Floats, Floats]:
    """Return the knots of the distribution function.

    They are diameters (mm, rising) and the fraction of the material that is finer. Particles of equal size share two
    knots, the first and the last of them, so the curve has at most twice as many knots as there are different sizes.
    """
    sizes, counts = np.unique(np.asarray(voxels, np.int64), return_counts=True)
    one = sizes if weighting == "volume" else np.ones_like(sizes)
    upto = np.cumsum(one * counts)
    # In half units of weight everything is a whole number, so the sums are exact.
    first = 2 * (upto - one * counts) + one
    last = 2 * upto - one
    knots = np.stack([first, last], axis=1).ravel() / (2.0 * upto[-1])
    return np.repeat(equivalent_diameter(sizes, spacing), 2), knots
