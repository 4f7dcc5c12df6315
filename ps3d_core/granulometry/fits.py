"""Two distributions of two parameters, fitted to a curve as laboratories do it: a straight line in their own paper.

    Rosin-Rammler-Sperling-Bennett   Q(x) = 1 - exp(-(x / x')^n)          DIN 66145
    log-normal                       Q(x) = Phi(ln(x / x_50) / s)         ISO 9276-5

On the paper of the first, ln(-ln(1 - Q)) is a straight line over ln x, on that of the second, the quantile of the
normal distribution. The line is that of least squares through the percentiles x_1, x_2, ... x_99 of the curve, and R2
is that of this line. It looks better than it is, as papers stretch the ends and press the middle together; so the
largest distance between curve and fit, in shares of the material over x_0.1 to x_99.9, stands beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from ps3d_core.granulometry.curve import Curve, Floats
from ps3d_core.granulometry.model import Fit, FitName

PERCENTILES: Final = np.arange(1, 100) / 100
COMPARED: Final = np.arange(1, 1000) / 1000
METHOD: Final = "least squares through the percentiles 1 to 99 in the linear coordinates of the distribution"


def fits_of(curve: Curve) -> tuple[Fit, ...]:
    """Return both fits; none where all particles have about one size."""
    sizes = np.log(curve.percentiles(PERCENTILES))
    if np.ptp(sizes) < 1e-6:
        return ()
    return tuple(_fit(name, curve, sizes) for name in ("rosin-rammler", "log-normal"))


def fitted(fit: Fit, sizes: Floats) -> Floats:
    """Return Q, 0 to 1, of a fit at `sizes` (k,), mm."""
    steepness = fit.width if fit.name == "rosin-rammler" else 1 / fit.width
    return _share(fit.name, steepness * (np.log(sizes) - np.log(fit.size_mm)))


def _fit(name: FitName, curve: Curve, sizes: Floats) -> Fit:
    wanted = _ordinate(name, PERCENTILES)
    slope, offset = np.polyfit(sizes, wanted, 1)
    left = wanted - (slope * sizes + offset)
    at = np.log(curve.percentiles(COMPARED))
    distance = np.abs(_share(name, slope * at + offset) - COMPARED)
    worst = int(distance.argmax())
    return Fit(
        name=name,
        size_mm=float(np.exp(-offset / slope)),
        width=float(slope if name == "rosin-rammler" else 1 / slope),
        r2=float(1 - (left**2).sum() / ((wanted - wanted.mean()) ** 2).sum()),
        distance=float(distance[worst]),
        distance_at_mm=float(np.exp(at[worst])),
    )


def _ordinate(name: FitName, shares: Floats) -> Floats:
    return np.asarray(np.log(-np.log1p(-shares)) if name == "rosin-rammler" else ndtri(shares))


def _share(name: FitName, ordinate: Floats) -> Floats:
    with np.errstate(over="ignore"):  # far above the coarsest
        return np.asarray(-np.expm1(-np.exp(ordinate)) if name == "rosin-rammler" else ndtr(ordinate))
