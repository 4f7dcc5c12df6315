"""Distributions kept in fine bins, so that a table of any length takes the same little memory.

Bins of size are 2000 to a decade, finer than a voxel makes any particle; those of ratios are thousandths. Resampling
draws the number of particles of every bin anew (Poisson), which is the bootstrap of a sample whose size is by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PER_DECADE: Final = 2000
_FIRST, _LAST = -5, 4
SIZE_EDGES: Final[Floats] = 10.0 ** (np.arange(_FIRST * PER_DECADE, _LAST * PER_DECADE + 1) / PER_DECADE)
"""Of bins of diameters, mm: 10 nm to 10 m; what lies outside is in the first or last."""
RATIO_EDGES: Final[Floats] = np.linspace(0.0, 1.0, 1001)
REPLICATES: Final = 400


@dataclass(frozen=True, slots=True)
class Binned:
    """Numbers of particles (n,) in bins between `edges` (n + 1,), and what they weigh (n,)."""

    edges: Floats
    counts: Integers
    weights: Floats

    @classmethod
    def of(cls, values: Floats, edges: Floats, counts: Integers | None = None, each: Floats | None = None) -> Binned:
        """Return `values` (m,) in bins; `counts` says how many particles have each value, `each` what one weighs."""
        bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        counts = np.ones(len(values), np.int64) if counts is None else counts
        weights = counts if each is None else counts * each
        numbers = np.bincount(bins, counts, len(edges) - 1)
        weight = np.bincount(bins, weights, len(edges) - 1).astype(np.float64)
        return cls(edges, numbers.astype(np.int64), weight)

    @property
    def particles(self) -> int:
        """Number of all particles."""
        return int(self.counts.sum())

    def finer(self, *, weighted: bool = False) -> Floats:
        """Return the share of particles, or of what they weigh, below the upper edge of each bin (n,)."""
        upto = np.cumsum(self.weights if weighted else self.counts, dtype=np.float64)
        return np.asarray(upto / upto[-1])

    def medians(self, seed: int, *, weighted: bool = False) -> Floats:
        """Return medians of resampled particles (`REPLICATES`,), each as a share of the median of all."""
        used = np.flatnonzero(self.counts)
        each = self.weights[used] / self.counts[used] if weighted else np.ones(len(used))
        middle = np.sqrt(self.edges[used] * self.edges[used + 1])
        drawn = np.random.default_rng([seed, int(weighted)]).poisson(self.counts[used], (REPLICATES, len(used)))
        drawn[drawn.sum(axis=1) == 0] = self.counts[used]
        found = np.array([_median(middle, row * each) for row in drawn])
        return found / _median(middle, self.weights[used] if weighted else self.counts[used].astype(np.float64))


def _median(values: Floats, weights: Floats) -> float:
    """Value that half of the weight lies below, by Hazen's rule: see `particles.distribution`."""
    upto = np.cumsum(weights)
    known = weights > 0
    return float(np.interp(0.5, ((upto - weights / 2) / upto[-1])[known], values[known]))
