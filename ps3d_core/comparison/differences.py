"""Whether two scans differ, and by how much: with many particles any difference is beyond chance, so its size is said.

Distributions are compared by the statistic of Kolmogorov and Smirnov, the largest distance between two cumulative
curves: it is a share of the material, so it says how large a difference is, and its chance is known. D50 is compared by
resampling. Particles of one scan are taken for independent draws from the material; how a sample was taken and split
comes on top, and nobody can see that in the scans. All tests of one comparison are corrected together (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import erfc, isnan, sqrt
from typing import Final

import numpy as np
from scipy.stats import kstwo

from ps3d_core.comparison.binned import Binned
from ps3d_core.comparison.scan import ScanFigures, common_phases, common_shapes

ALL_PAIRS: Final = 6
"""Scans up to which every one is compared with every other; of more, each is compared with the first."""
LEVEL: Final = 0.05
_WORDS: Final = ((0.05, "negligible"), (0.15, "small"), (0.3, "moderate"), (float("inf"), "large"))
"""Distances of curves below which a difference is called so."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between two scans in one property.

    Attributes:
        first, second: positions of the scans in the comparison.
        of: what is compared: size, a descriptor of shape, or a phase.
        distance: largest distance of the cumulative curves by number, 0 to 1; of a phase, difference of the shares.
        at: where it is: mm of sizes, the value of a descriptor; None of a phase, and of curves that are alike.
        p: probability of such a distance between two samples of one material, corrected for the number of tests.
        by_volume: largest distance of the curves by volume; sizes only.
        change: second less first: of D50 by volume, mm, of the median, or of the share.
        interval: that the change lies in, 19 of 20 times, where it is known.

    """

    first: int
    second: int
    of: str
    distance: float
    at: float | None
    p: float
    by_volume: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def shown(self) -> bool:
        """Whether chance alone hardly explains it."""
        return self.p < LEVEL

    @property
    def words(self) -> str:
        """How large it is, for a person."""
        if not self.shown:
            return "none shown"
        return next(word for limit, word in _WORDS if self.distance < limit)


def differences(scans: Sequence[ScanFigures]) -> list[Difference]:
    """Return all differences of the pairs that are compared, their probabilities corrected together."""
    pairs = list(combinations(range(len(scans)), 2))
    if len(scans) > ALL_PAIRS:
        pairs = [(0, other) for other in range(1, len(scans))]
    shapes, phases = common_shapes(list(scans)), common_phases(list(scans))
    found = [each for first, second in pairs for each in _of_pair(scans, first, second, shapes, phases)]
    return [replace(each, p=p) for each, p in zip(found, holm([each.p for each in found]), strict=True)]


def kolmogorov_smirnov(one: Binned, other: Binned) -> tuple[float, float | None, float]:
    """Return the largest distance between two cumulative curves by number, where it is, and its probability.

    It is nowhere, None, where the curves are alike.

    The probability is that of the two-sided test of two samples from one continuous distribution, with the effective
    number n m / (n + m) of particles; values that share a bin make it too large rather than too small.
    """
    apart = np.abs(one.finer() - other.finer())
    worst = int(apart.argmax())
    n, m = one.particles, other.particles
    p = float(kstwo.sf(apart[worst], max(1, round(n * m / (n + m)))))
    at = float(one.edges[worst + 1]) if apart[worst] > 0 else None
    return float(apart[worst]), at, min(1.0, max(0.0, p))


def holm(p: Sequence[float]) -> list[float]:
    """Return probabilities corrected for how many there are, by the method of Holm (1979); NaN counts as 1."""
    known = np.array([1.0 if isnan(each) else each for each in p])
    order = np.argsort(known, kind="stable")
    corrected = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    result = np.empty(len(known))
    result[order] = np.minimum(1.0, corrected)
    return [float(each) for each in result]


def _of_pair(
    scans: Sequence[ScanFigures], first: int, second: int, shapes: Sequence[str], phases: Sequence[str]
) -> list[Difference]:
    one, other = scans[first], scans[second]
    distance, at, p = kolmogorov_smirnov(one.sizes, other.sizes)
    by_volume = float(np.abs(one.sizes.finer(weighted=True) - other.sizes.finer(weighted=True)).max())
    low, high = np.quantile(other.d50_replicates - one.d50_replicates, (0.025, 0.975))
    change, interval = other.by_volume.d50 - one.by_volume.d50, (float(low), float(high))
    found = [Difference(first, second, "size", distance, at, p, by_volume, change, interval)]
    for name in shapes:
        distance, at, p = kolmogorov_smirnov(one.shapes[name], other.shapes[name])
        change = median(other.shapes[name]) - median(one.shapes[name])
        found.append(Difference(first, second, name, distance, at, p, change=change))
    return found + [_of_phase(one, other, first, second, name) for name in phases]


def median(binned: Binned) -> float:
    """Return the value that half of the particles are below."""
    return float(binned.edges[1:][np.searchsorted(binned.finer(), 0.5)])


def _of_phase(one: ScanFigures, other: ScanFigures, first: int, second: int, name: str) -> Difference:
    change = other.phases[name].value - one.phases[name].value
    error = sqrt(one.phases[name].error ** 2 + other.phases[name].error ** 2)
    p = erfc(abs(change) / error / sqrt(2)) if error > 0 else float(change == 0)
    interval = (change - 1.96 * error, change + 1.96 * error)
    return Difference(first, second, f"phase {name}", abs(change), None, p, change=change, interval=interval)
