"""How thoroughly a network is applied: levels that trade accuracy for time, each defined here and nowhere else.

A level is where patches lie, how their voxels are weighed, and in which mirror images the network sees them:

    stride      distance between patches, as a share of a patch
    sigma       of the Gaussian that weighs the voxels of a patch, as a share of a patch
    mirrorings  of a patch, as the axes that are turned round; the mean of the answers counts
    adaptive    patches are spread evenly, are no deeper than a thin scan needs, and are not evaluated where they are
                surely empty

To change a level, change its numbers in `LEVELS`. Results know the numbers, not the names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from math import ceil
from typing import Any, Final, Literal

LevelName = Literal["fast", "standard", "reference"]
Mirrorings = tuple[tuple[int, ...], ...]
"""Axes of a patch that are turned round, 0 z, 1 y, 2 x, for each image that the network sees."""

PLAIN: Final[Mirrorings] = ((),)
"""The patch as it is."""
OPPOSITE: Final[Mirrorings] = ((), (0, 1, 2))
"""The patch as it is, and reflected in its centre."""
PAIRS: Final[Mirrorings] = ((), (0, 1), (0, 2), (1, 2))
"""The patch as it is, and turned by half about each axis."""
EVERY: Final[Mirrorings] = tuple(axes for count in range(4) for axes in combinations(range(3), count))
"""All eight mirror images, as nnU-Net has them."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Stride and sigma as shares of a patch, mirrorings, and whether patches adapt to the scan."""

    stride: float
    sigma: float
    mirrorings: Mirrorings
    adaptive: bool = True

    @property
    def passes(self) -> float:
        """Forward passes of one network per patch volume of a scan much larger than a patch."""
        return len(self.mirrorings) / self.stride**3

    @property
    def facts(self) -> dict[str, Any]:
        """Every number that decides results, by name, JSON-able."""
        return asdict(self)

    def strides(self, patch: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the distance between patches per axis: the share of `patch`, rounded (halves down), at least 1."""
        z, y, x = (max(1, ceil(self.stride * side - 0.5)) for side in patch)
        return z, y, x


REFERENCE: Final = Quality(stride=1 / 2, sigma=1 / 8, mirrorings=EVERY, adaptive=False)
"""What ParticleSeg3D does. Not to be changed: results of earlier releases are known by it."""
LEVELS: Final[dict[LevelName, Quality]] = {
    "fast": Quality(stride=3 / 4, sigma=1 / 4, mirrorings=PLAIN),
    "standard": Quality(stride=3 / 4, sigma=1 / 4, mirrorings=OPPOSITE),
    "reference": REFERENCE,
}
