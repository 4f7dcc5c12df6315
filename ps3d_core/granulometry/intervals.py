"""Intervals by resampling particles (bootstrap, Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

The particles of a table are one draw of all that the material could have given; drawing as many of them again, with
replacement, shows how far figures vary from draw to draw. An interval is that of the percentiles of these figures. It
says nothing of errors of the segmentation, nor of how well the scan stands for the material.

Up to `SINGLE` particles are drawn one by one. Of more, the coarsest `COARSEST` are, since they carry a distribution by
volume, and the others in groups of neighbouring size, drawn as a Poisson number of particles that keeps mean and
variance of the group's weight: n = (sum w)^2 / sum w^2 particles of weight sum w^2 / sum w. So time and memory are
those of a few thousand particles. The numbers come from a generator of fixed seed: the same table gives
the same intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.granulometry.curve import Curve, Floats, Ranking

SINGLE: Final = 4096
"""Particles that are drawn one by one."""
COARSEST: Final = 1024
"""Of more than that, the coarsest that still are."""
DRAWS: Final = 400
SEED: Final = 9276
LEAST: Final = 20
"""Particles that an interval needs."""


@dataclass(frozen=True)
class Spread:
    """What came of resampling.

    Attributes:
        low: lower ends of the intervals of the percentiles (k,), mm.
        high: upper ends of them.
        band_low: lower ends of the intervals of Q at given sizes.
        band_high: upper ends of them.

    """

    low: Floats
    high: Floats
    band_low: Floats
    band_high: Floats


@dataclass(frozen=True)
class _Parts:
    """What is drawn: sizes (g,), number of particles that each stands for, and the weight of one of them."""

    sizes: Floats
    numbers: Floats
    weights: Floats
    single: bool


def spread_of(
    ranking: Ranking, curve: Curve, ranked: Floats, shares: Floats, sizes: Floats, confidence: float
) -> Spread | None:
    """Return intervals of percentiles and of Q; None for too few particles.

    Args:
        ranking: of the particles.
        curve: of these particles under these weights.
        ranked: weights of the particles (n,), in rising order of size.
        shares: of the percentiles, 0 to 1.
        sizes: at which Q gets an interval, mm.
        confidence: probability with which an interval is to hold the true value.

    """
    n = len(ranking.order)
    if n < LEAST:
        return None
    parts = _parts(ranking, ranked)
    generator = np.random.default_rng(SEED)
    middle = _resampled(parts, np.round(parts.numbers) if parts.single else parts.numbers)
    at, band = np.empty((DRAWS, len(shares))), np.empty((DRAWS, len(sizes)))
    for row in range(DRAWS):
        drawn = _resampled(parts, _drawn(parts, n, generator))
        at[row] = drawn.percentiles(shares)
        band[row] = drawn.passing(sizes)
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    # Groups smooth a little: only what draws differ by is taken from them.
    low, high = np.quantile(at / middle.percentiles(shares), ends, axis=0) * curve.percentiles(shares)
    about = curve.passing(sizes)
    band_low, band_high = np.clip(np.quantile(band - middle.passing(sizes), ends, axis=0) + about, 0, 1)
    return Spread(low, high, band_low, band_high)


def _parts(ranking: Ranking, ranked: Floats) -> _Parts:
    n, single = len(ranked), len(ranked) <= SINGLE
    edges = np.arange(n) if single else _group_edges(n)
    sums = np.add.reduceat(ranked, edges)
    squares = np.add.reduceat(np.square(ranked), edges)
    middles = (edges + np.append(edges[1:], n) - 1) // 2
    starts = ranking.starts
    which = middles if starts is None else np.searchsorted(starts, middles, side="right") - 1
    heavy = squares > 0
    numbers = np.where(heavy, np.divide(sums**2, squares, where=heavy, out=np.zeros_like(sums)), 0.0)
    each = np.divide(squares, sums, where=heavy, out=np.zeros_like(sums))
    return _Parts(ranking.sizes[which], np.ones(n) if single else numbers, each, single)


def _group_edges(n: int) -> npt.NDArray[np.int64]:
    """Where groups of particles in rising order begin: equal ones of the finer, single ones of the coarsest."""
    groups = SINGLE - COARSEST
    fine = np.arange(groups, dtype=np.int64) * (n - COARSEST) // groups
    return np.concatenate([fine, np.arange(n - COARSEST, n)])


def _drawn(parts: _Parts, n: int, generator: np.random.Generator) -> Floats:
    """How many particles of each part are drawn."""
    if parts.single:
        return np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64)
    return generator.poisson(parts.numbers).astype(np.float64)


def _resampled(parts: _Parts, numbers: Floats) -> Curve:
    weights = numbers * parts.weights
    there = weights > 0
    counts = numbers[there] if parts.single else np.ones(int(there.sum()))
    return Curve(parts.sizes[there], weights[there], counts)
