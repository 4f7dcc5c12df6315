"""The cumulative distribution of particles: which share of their number, volume or mass is finer than a size.

In the terms of ISO 9276-1 it is Q_r(x): r = 0 by number, 3 by volume, and Q_m by mass. A particle stands in the middle
of its own weight (Hazen), so that the function is symmetric in fine and coarse,

    Q(x_i) = (weight finer than particle i + half the weight of particle i) / total weight,

with straight lines between particles; particles of one size share it evenly. Percentiles are read from it: x_50 or D50
is where Q is one half. With equal weights D50 is the ordinary median. No figure depends on the order of the particles
beyond the rounding of sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Ranking:
    """Sizes in rising order, each once, and how weights of particles become weights of these.

    Attributes:
        sizes: the different sizes (m,), mm, rising.
        order: particles (n,) in rising order of size.
        starts: where in that order each size begins (m,); None where no two particles are alike.

    """

    sizes: Floats
    order: Integers
    starts: Integers | None

    @classmethod
    def of(cls, sizes: Floats) -> Ranking:
        """Return the ranking of particles of these `sizes` (n,), all above 0; memory is 20 bytes per particle."""
        order: Integers = np.argsort(sizes, kind="stable").astype(np.uint32 if len(sizes) < 2**32 else np.int64)
        ranked = sizes[order]
        first = np.ones(len(ranked), np.bool_)
        np.not_equal(ranked[1:], ranked[:-1], out=first[1:])
        if first.all():
            return cls(ranked, order, None)
        starts = np.flatnonzero(first)
        return cls(ranked[starts], order, starts)

    @property
    def counts(self) -> Floats:
        """Number of particles of each size (m,)."""
        if self.starts is None:
            return np.broadcast_to(np.float64(1), self.sizes.shape)
        return np.diff(self.starts, append=len(self.order)).astype(np.float64)

    def only(self, those: npt.NDArray[np.bool_]) -> Ranking:
        """Return the ranking of those particles alone for which `those` (n,) is true; weights stay those of all."""
        kept = those[self.order]
        if self.starts is None:
            return Ranking(self.sizes[kept], self.order[kept], None)
        counts = np.add.reduceat(kept, self.starts, dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts[counts > 0])[:-1]])
        return Ranking(self.sizes[counts > 0], self.order[kept], starts)

    def ranked(self, weights: Floats | None) -> Floats:
        """Return `weights` of particles in rising order of size; equal ones when None."""
        return np.broadcast_to(np.float64(1), self.order.shape) if weights is None else weights[self.order]

    def curve(self, ranked: Floats) -> Curve:
        """Return the distribution of particles under weights in rising order of size, none of them negative."""
        total = ranked if self.starts is None else np.add.reduceat(ranked, self.starts)
        return Curve(self.sizes, total, self.counts)


@dataclass(frozen=True)
class Curve:
    """A cumulative distribution.

    Attributes:
        sizes: different sizes (m,), mm, rising; m is at least 1.
        weights: of all particles of each size (m,), with a sum above 0.
        counts: number of particles of each size (m,).

    """

    sizes: Floats
    weights: Floats
    counts: Floats

    @cached_property
    def upto(self) -> Floats:
        """Weight of all that is not coarser than each size (m,)."""
        return np.cumsum(self.weights)

    @property
    def total(self) -> float:
        """Weight of all particles."""
        return float(self.upto[-1])

    def finer(self, sizes: Floats) -> Floats:
        """Return the weight of all particles that are smaller than each of `sizes`, counted and not interpolated."""
        at = np.searchsorted(self.sizes, sizes, side="left")
        return np.asarray(np.where(at > 0, self.upto[np.maximum(at, 1) - 1], 0.0))

    def number_finer(self, sizes: Floats) -> Integers:
        """Return how many particles are smaller than each of `sizes`."""
        at = np.searchsorted(self.sizes, sizes, side="left")
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)[at]

    def passing(self, sizes: Floats) -> Floats:
        """Return Q, 0 to 1, at each of `sizes` (k,), mm: 0 below the finest particle and 1 above the coarsest."""
        at = np.searchsorted(self.sizes, sizes, side="right")
        below, above = np.maximum(at - 1, 0), np.minimum(at, len(self.sizes) - 1)
        low, high = self._last(below), self._first(above)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = (sizes - self.sizes[below]) / (self.sizes[above] - self.sizes[below])
        between = low + np.where(above > below, step, 0.0) * (high - low)
        # On a particle, at the end of its own part.
        found = np.where(
            at == 0, 0.0, np.where(at == len(self.sizes), np.where(sizes > self.sizes[-1], 1, low), between)
        )
        return np.asarray(np.clip(found, 0.0, 1.0))

    def percentiles(self, shares: Floats) -> Floats:
        """Return the sizes (k,), mm, at which Q takes on `shares` (k,), 0 to 1."""
        at = np.minimum(np.searchsorted(self._knots, shares, side="left"), len(self.sizes) - 1)
        before = np.maximum(at - 1, 0)
        low, high = self._knots[before], self._first(at)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = np.clip(np.where(high > low, (shares - low) / (high - low), 1.0), 0.0, 1.0)
        return np.asarray(self.sizes[before] + np.where(at > 0, step, 1.0) * (self.sizes[at] - self.sizes[before]))

    @cached_property
    def _knots(self) -> Floats:
        """Q of the last particle of each size (m,)."""
        knots = self.weights / self.counts
        knots /= -2
        knots += self.upto
        knots /= self.total
        return knots

    def _last(self, index: Integers) -> Floats:
        return np.asarray(self._knots[index])

    def _first(self, index: Integers) -> Floats:
        """Q of the first particle of each of these sizes."""
        weight = self.weights[index]
        return np.asarray((self.upto[index] - weight + weight / (2 * self.counts[index])) / self.total)
