"""Draws of single numbers that the families of random phantoms share."""

from __future__ import annotations

import numpy as np

Range = tuple[float, float]


def sometimes(rng: np.random.Generator, chance: float, low: float, high: float) -> float:
    """Return a number, uniform in [low, high], with probability `chance`, else 0."""
    value = float(rng.uniform(low, high))
    return value if rng.random() < chance else 0.0


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """Return a number whose logarithm is uniform between those of the limits."""
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))
