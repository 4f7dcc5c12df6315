"""How large the particles of a scan are, by the network's own judgement.

A network is sure of particles that it sees at the size it was trained for, and of somewhat smaller ones. Seen too large
their texture becomes particles, seen too small they run together. So the scan is looked at as if its particles had one
of many sizes, from coarse to fine: at the right one the network is sure, and finds the size that it was told.

Every size that was tried votes for the one that was found with it, if it agrees at least half as well as the best, in
proportion to

    trust^8 * exp(-(ln(bulk / tried / 0.85) / 0.25)^2 / 2)

where trust is the share of the volume of what looked like particles that is expected right, and bulk the diameter that
halves the volume of all particles, which crumbs do not move. Found sizes are means of the diameters of whole particles,
each weighed for its chance to be seen whole (Miles and Lantuejoul).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.inspection.sighting import Floats, Sighting
from ps3d_core.network.bundle import BundleInfo

STEP: Final = 1.35
"""Between the sizes that are tried."""
LEAST: Final = 4.0
"""Voxels of the scan across the smallest particles that are looked for."""
SHOWN: Final = 3.0
"""Voxels of the scan below which nothing is a particle, but noise and texture."""
WHOLE: Final = 12
"""Particles that have to be seen whole for a size."""
_TRUST: Final = 8
_RATIO, _WIDTH = 0.85, 0.25
_VOTING: Final = 0.5
"""Agreement of a size that votes, as a share of the best."""
SURE: Final = 0.3
"""Agreement from which a size counts as known."""
CLEAR: Final = 0.6
"""Agreement from which particles need not be looked for with grey values turned round."""
_PASSED: Final = 0.25
"""Agreement of sizes beyond the right one, as a share of the best."""
_LEAST_ERROR: Final = 0.12
"""Half of the interval at least, as a share of the size: what is wrong on phantoms 19 of 20 times."""
_WIDE: Final = 0.35
"""Standard deviation of ln(diameter) from which a distribution is called wide."""


class Tried(BaseModel):
    """A size that was tried, and what came of it; lengths are voxels of the scan."""

    model_config = ConfigDict(frozen=True)

    size: float
    found: float | None = Field(description="mean diameter of whole particles; None when too few were seen")
    bulk: float = Field(description="diameter that halves the volume of all particles, also those cut by a block")
    whole: int = Field(description="particles that were seen whole")
    trust: float = Field(description="share of the volume of what looked like particles that is expected right")
    spread: float = Field(description="standard deviation of ln(diameter) of whole particles")
    thin: bool = Field(default=False, description="scan is thinner than such particles, of which sections are seen")

    @property
    def agreement(self) -> float:
        """How well what was found agrees with what was told, and how sure the network was, 0 to 1."""
        return self.promise if self.found is not None and self.found >= SHOWN else 0.0

    @property
    def promise(self) -> float:
        """Agreement that there would be if enough particles were seen whole."""
        if not self.bulk:
            return 0.0
        off = np.log(self.bulk / self.size / _RATIO) / _WIDTH
        return float(self.trust**_TRUST * np.exp(-(off**2) / 2))


class SizeFound(BaseModel):
    """Mean diameter of the particles, in voxels of the scan, with an interval."""

    model_config = ConfigDict(frozen=True)

    size: float
    low: float
    high: float
    sure: bool = Field(description="whether the network agrees with itself at that size")
    wide: bool = Field(description="whether the particles differ much in size")
    tried: tuple[Tried, ...]


def tried(sighting: Sighting, size: float, info: BundleInfo) -> Tried:
    """Return what came of looking at a scan as if its particles measured `size` voxels."""
    believed, kept = trusted(sighting, info), sighting.kept(info)
    weight = np.where(kept, sighting.weight, 0)
    whole = int((weight > 0).sum())
    found, spread, bulk = None, 0.0, _halving(sighting.diameter[kept]) / sighting.zoom
    if whole >= WHOLE:
        logs = np.log(sighting.diameter)
        found = float(np.average(sighting.diameter, weights=weight)) / sighting.zoom
        spread = float(np.sqrt(np.average((logs - np.average(logs, weights=weight)) ** 2, weights=weight)))
    share = float(np.average(believed, weights=sighting.voxels)) if len(believed) else 0.0
    return Tried(thin=sighting.thin, size=size, found=found, bulk=bulk, whole=whole, trust=share, spread=spread)


def _halving(diameter: Floats) -> float:
    """Diameter of the particle at which half of the volume is reached, in order of size; 0 for none."""
    ordered = np.sort(diameter)
    if not len(ordered):
        return 0.0
    volume = np.cumsum(ordered**3)
    return float(ordered[np.searchsorted(volume, volume[-1] / 2)])


def trusted(sighting: Sighting, info: BundleInfo) -> Floats:
    """Return how probably each particle is right, (n,): its confidence, or certainty without a calibration."""
    return info.calibration.confidence(sighting.certainty) if info.calibration else sighting.certainty


def sizes_to_try(longest: float, shortest: float, target: float) -> list[float]:
    """Return sizes in voxels, the largest first, for a scan whose longest and shortest side have so many voxels.

    The largest is half of the longest side, or what makes a thin scan two voxels thick; `target` is what a model wants.
    """
    largest = max(LEAST * STEP, min(longest / 2, shortest * target / 2))
    steps = int(np.floor(np.log(largest / LEAST) / np.log(STEP)))
    return [LEAST * STEP**step for step in range(steps, -1, -1)]


def best_agreement(known: Sequence[Tried]) -> float:
    """Return the agreement of the size that agreed best."""
    return max((each.agreement for each in known), default=0.0)


def enough(known: Sequence[Tried]) -> bool:
    """Return whether finer sizes need not be tried: one agreed well, and the last two hardly did any more."""
    best = best_agreement(known)
    return best > CLEAR and all(each.agreement < _PASSED * best for each in known[-2:])


def agreed(known: Sequence[Tried]) -> SizeFound | None:
    """Return the size on which the tried ones agree; None when none was found at all."""
    best = max(known, key=lambda each: each.agreement, default=None)
    if best is None or not best.agreement:
        return None
    voters = [each for each in known if each.agreement >= _VOTING * best.agreement]
    votes = np.array([each.agreement for each in voters])
    logs = np.log([each.found or each.size for each in voters])
    middle = float(np.average(logs, weights=votes))
    apart = float(np.sqrt(np.average((logs - middle) ** 2, weights=votes)))
    half = max(_LEAST_ERROR, 2 * apart)
    return SizeFound(
        size=float(np.exp(middle)),
        low=float(np.exp(middle - half)),
        high=float(np.exp(middle + half)),
        sure=best.agreement > SURE and not best.thin,
        wide=best.spread > _WIDE,
        tried=tuple(known),
    )
