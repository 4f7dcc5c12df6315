"""How far a measured curve is from ours: largest distance, area between both, differences of percentiles.

Both are compared where the measured one has points; between its points it is a straight line over the logarithm of
size, as it is drawn. A sieve weighs all that is finer than its aperture, so ours is counted in the same way.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ps3d_core.granulometry.curve import Curve, Floats
from ps3d_core.granulometry.model import SieveComparison
from ps3d_core.granulometry.params import MeasuredCurve, Weighting

STEPS: Final = 2000
"""Of the logarithm of size, in which the area is added up."""


def comparison(curve: Curve, measured: MeasuredCurve, weighting: Weighting) -> SieveComparison:
    """Return how far a measured curve is from that of a table."""
    sizes, passing = np.array(measured.size_mm), np.array(measured.passing)
    gaps = np.abs(passing - curve.finer(sizes) / curve.total)
    worst = int(gaps.argmax())
    fine = np.geomspace(sizes[0], sizes[-1], STEPS)
    gap = curve.passing(fine) - np.interp(np.log(fine), np.log(sizes), passing)
    steps = np.log10(fine)
    ours = curve.percentiles(np.array([0.1, 0.5, 0.9])).tolist()
    theirs = [_percentile(sizes, passing, share) for share in (0.1, 0.5, 0.9)]
    return SieveComparison(
        name=measured.name,
        weighting=weighting,
        distance=float(gaps[worst]),
        distance_at_mm=float(sizes[worst]),
        area=float(np.trapezoid(np.abs(gap), steps)),
        shift=float(np.trapezoid(gap, steps)),
        percentiles=dict(zip(("D10", "D50", "D90"), zip(theirs, ours, strict=True), strict=True)),
    )


def _percentile(sizes: Floats, passing: Floats, share: float) -> float | None:
    """Size at which a measured curve takes on a share; None where it does not reach it."""
    if not passing[0] <= share <= passing[-1]:
        return None
    at = max(1, int(np.searchsorted(passing, share, side="left")))
    low, high = passing[at - 1], passing[at]
    step = 0.0 if high == low else (share - low) / (high - low)
    return float(np.exp(np.log(sizes[at - 1]) + step * np.log(sizes[at] / sizes[at - 1])))
