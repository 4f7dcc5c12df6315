"""A mixture of as many normal distributions as are asked for, fitted to a histogram: the same for the same counts.

Where it begins decides what a fit ends with. Here it begins at the peaks that last longest: the histogram is smoothed
with ever narrower Gaussians, and the widest that shows enough peaks is taken (Silverman, J. R. Stat. Soc. B 43:97,
1981). So a rare phase with a peak of its own is found, and noise on a large one is not. Expectation and maximisation
then find means, widths and shares, each mean between the valleys on both sides of its peak.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS: Final = 1024
_ROUNDS: Final = 200
_NARROWER: Final = 0.93
_LEAST_PEAK: Final = 1e-4
_TAIL: Final = 1e-4


class Mixture(NamedTuple):
    """Means, in rising order, standard deviations and shares (k,); edges (n + 1,) and counts (n,) of the histogram."""

    mean: Floats
    width: Floats
    share: Floats
    edges: Floats
    counts: Floats


def fitted(values: Floats, counts: npt.NDArray[np.int64], number: int) -> Mixture | None:
    """Return the mixture of `number` distributions; None when the histogram has not so many peaks.

    `values` (n,) rise, `counts` (n,) say how often each is met.
    """
    edges = _edges(values, counts)
    histogram = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=counts)[0].astype(np.float64)
    middles = (edges[1:] + edges[:-1]) / 2
    if (found := _peaks(histogram, number)) is None:
        return None
    peaks, valleys = found
    low, high = middles[valleys[:-1]], middles[valleys[1:]]
    mean, width = middles[peaks], np.maximum((high - low) / 6, middles[1] - middles[0])
    share = np.full(number, 1 / number)
    total = histogram.sum()
    for _ in range(_ROUNDS):
        density = share * np.exp(-0.5 * ((middles[:, None] - mean) / width) ** 2) / width + 1e-300
        part = histogram[:, None] * density / density.sum(axis=1, keepdims=True)
        weight = np.maximum(part.sum(axis=0), 1e-9)
        mean = np.clip((part * middles[:, None]).sum(axis=0) / weight, low, high)
        width = np.sqrt((part * (middles[:, None] - mean) ** 2).sum(axis=0) / weight)
        width, share = np.maximum(width, middles[1] - middles[0]), weight / total
    return Mixture(mean, width, share, edges, histogram)  # means rise: none leaves its valleys


def peaks_of(values: Floats, counts: npt.NDArray[np.int64]) -> int:
    """Return how many peaks are seen without any smoothing that would hide one."""
    edges = _edges(values, counts)
    histogram = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=counts)[0].astype(np.float64)
    return len(_maxima(_smooth(histogram, BINS / 128)))


def _edges(values: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """Edges of the bins, without the few values that are far from all others."""
    upto = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(upto, _TAIL), np.searchsorted(upto, 1 - _TAIL)
    low, high = values[int(first)], values[min(int(last), len(values) - 1)]
    room = max(0.1 * (high - low), 1e-6 * max(abs(low), abs(high)), 1e-30)
    return np.linspace(low - room, high + room, BINS + 1)


def _peaks(histogram: Floats, number: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Places of the peaks that last longest, and of the valleys before, between and after them."""
    scale = BINS / 4.0
    while scale >= BINS / 512:
        smooth = _smooth(histogram, scale)
        maxima = _maxima(smooth)
        if len(maxima) >= number:
            peaks = np.sort(maxima[np.argsort(-smooth[maxima], kind="stable")][:number])
            between = [a + int(np.argmin(smooth[a:b])) for a, b in pairwise(peaks)]
            return peaks, np.array([0, *between, len(histogram) - 1], np.int64)
        scale *= _NARROWER
    return None


def _maxima(smooth: Floats) -> npt.NDArray[np.int64]:
    inner = smooth[1:-1]
    return 1 + np.flatnonzero((inner > smooth[:-2]) & (inner >= smooth[2:]) & (inner > _LEAST_PEAK * smooth.max()))


def _smooth(histogram: Floats, scale: float) -> Floats:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(histogram, scale, mode="constant", truncate=5.0))
