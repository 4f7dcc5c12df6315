"""Mean and spread of a dataset from voxels drawn at random, with an interval that can be trusted.

Reading single voxels means reading their chunks, and voxels of one chunk are alike: they lie in the same particle or
the same air. A thousand voxels of one chunk say little more than one, and an interval that counted them as a thousand
would be far too narrow. So the unit that counts is the draw:

    a voxel anywhere in the dataset, every one with the same chance,  ->  its chunk  ->  `per_draw` voxels of that chunk

A chunk is met in proportion to its size, so every draw by itself is an unbiased estimate, and draws are independent
of one another however alike the voxels within are. Their scatter is the error of their mean: the estimator of Hansen
and Hurwitz (1943) for two-stage sampling with replacement. That of the standard deviation follows by linearisation,
and Student's t covers that there may be a few dozen draws only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from ps3d_core.geometry.boxes import Shape
from ps3d_core.scan.moments import moments_of

LEVEL: Final = 0.95
FEWEST, MOST = 64, 4096  # draws: fewer have no reliable scatter, more cost reads that hardly narrow the interval
USUAL_PER_DRAW: Final = 1024


class Draw(NamedTuple):
    """Mean and variance of the voxels of one draw."""

    number: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class DrawPlan:
    """Plan of the voxels that are drawn from each scan; depends on nothing but these fields."""

    shapes: tuple[Shape, ...]
    """One per scan, voxels."""
    samples: int
    seed: int

    @property
    def per_draw(self) -> int:
        """Number of voxels per draw."""
        return max(1, min(USUAL_PER_DRAW, self.samples // FEWEST), ceil(self.samples / MOST))

    @property
    def count(self) -> int:
        """Number of draws."""
        return ceil(self.samples / self.per_draw)

    @property
    def voxels(self) -> int:
        """Number of voxels drawn: `samples`, filled up to whole draws."""
        return self.count * self.per_draw

    def chunks(self, scan: int, chunk: Shape) -> dict[Shape, list[int]]:
        """Return the draws that fall into the scan of index `scan`, by the position of the chunk they fall into.

        `chunk` is the shape of a chunk (z, y, x) in voxels; positions count chunks and are in C order.
        """
        sizes = np.array([prod(shape) for shape in self.shapes], np.int64)
        stops = np.cumsum(sizes)
        voxels = self._random(0).integers(0, int(stops[-1]), self.count)
        (draws,) = np.nonzero(np.searchsorted(stops, voxels, side="right") == scan)
        places = np.unravel_index(voxels[draws] - (stops[scan] - sizes[scan]), self.shapes[scan])
        found: dict[Shape, list[int]] = {}
        for draw, z, y, x in zip(draws.tolist(), *(place.tolist() for place in places), strict=True):
            found.setdefault((z // chunk[0], y // chunk[1], x // chunk[2]), []).append(draw)
        return dict(sorted(found.items()))

    def evaluate(self, draw: int, chunk: npt.NDArray[Any]) -> Draw:
        """Return mean and variance of voxels drawn from the values of the `chunk` that the draw fell into."""
        values = chunk.reshape(-1)[self._random(1, draw).integers(0, chunk.size, self.per_draw)]
        moments = moments_of(values.astype(np.float64))
        return Draw(draw, float(moments.mean), float(moments.deviations) / moments.count)

    def _random(self, *path: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=path))


class Estimate(NamedTuple):
    """Mean and standard deviation of the population, with their intervals at `LEVEL`."""

    mean: float
    std: float
    mean_interval: tuple[float, float]
    std_interval: tuple[float, float]


def estimate(draws: Sequence[Draw]) -> Estimate:
    """Return mean and standard deviation with their intervals from two or more draws, whatever their order."""
    ordered = sorted(draws)
    means = np.array([draw.mean for draw in ordered])
    n, mean = len(ordered), float(means.mean())
    # Squared deviations from the mean found, draw by draw. The mean found lies closer to the draws than the true one
    # does, by its own variance.
    spreads = np.array([draw.variance for draw in ordered]) + np.square(means - mean)
    std = sqrt(float(spreads.mean()) + float(means.var(ddof=1)) / n)
    factor = float(stdtrit(n - 1, (1 + LEVEL) / 2)) / sqrt(n)
    off_mean = factor * float(means.std(ddof=1))
    off_std = factor * float(spreads.std(ddof=1)) / (2 * std) if std else 0.0
    return Estimate(mean, std, (mean - off_mean, mean + off_mean), (max(0.0, std - off_std), std + off_std))
