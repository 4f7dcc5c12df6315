"""Classes of size between sieves: of a standard series, or of the user's own apertures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from ps3d_core.granulometry.curve import Curve, Floats
from ps3d_core.granulometry.model import SizeClass
from ps3d_core.granulometry.series import TITLES, apertures_for, designation
from ps3d_core.size_params import SeriesName, SizeParams, Weighting

OWN: Final = "classes of the user's own"
MUCH: Final = 0.5
"""Share of particles below the finest, or above the coarsest sieve of which something is said."""


@dataclass(frozen=True)
class Classes:
    """Sieves (k,), mm, rising, and what the classes between, below and above them are called."""

    edges: tuple[float, ...]
    series: SeriesName | None
    below: bool
    above: bool
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Series that the sieves are of."""
        return OWN if self.series is None else TITLES[self.series]

    @property
    def bounds(self) -> list[tuple[float, float | None]]:
        """Lower and upper end of each class, mm, the finest first."""
        inner: list[tuple[float, float | None]] = list(pairwise(self.edges))
        return [
            *([(0.0, self.edges[0])] if self.below else []),
            *inner,
            *([(self.edges[-1], None)] if self.above else []),
        ]

    def filled(self, sums: dict[Weighting, Floats]) -> tuple[SizeClass, ...]:
        """Return the classes with what `counted` found for each weighting, the finest first."""
        numbers = [round(each) for each in sums["number"].tolist()]
        volumes = sums["volume"].tolist()
        masses = sums["mass"].tolist() if "mass" in sums else [None] * len(volumes)
        return tuple(
            SizeClass(
                lower_mm=low,
                upper_mm=high,
                name=f"on {designation(self.series, low)}"
                if low
                else f"below {designation(self.series, self.edges[0])}",
                number=number,
                volume_mm3=volume,
                mass_mg=mass,
            )
            for (low, high), number, volume, mass in zip(self.bounds, numbers, volumes, masses, strict=True)
        )


def classes_for(params: SizeParams, sizes: Floats) -> Classes:
    """Return the classes that particles of these `sizes` (n,), mm, need: those of a series that have any, or all."""
    low, high = float(sizes.min()), float(sizes.max())
    if isinstance(params.classes, str):
        series, edges = params.classes, apertures_for(params.classes, low, high)
    else:
        series, edges = None, params.classes
    below, above = low < edges[0], high >= edges[-1]
    outside = float(np.mean(sizes < edges[0])) + float(np.mean(sizes >= edges[-1]))
    remedy = "give apertures of your own" if series else "give finer or coarser apertures, too"
    notes = (f"{100 * outside:.0f} % of the particles lie outside of the sieves; {remedy}",) if outside > MUCH else ()
    return Classes(tuple(edges), series, below, above, notes)


def counted(curve: Curve, classes: Classes) -> Floats:
    """Return the weight of the particles in each class: not smaller than its lower end, smaller than its upper one."""
    upto = curve.finer(np.array(classes.edges))
    parts = np.diff(upto)
    below, above = upto[:1], curve.total - upto[-1:]
    ends = np.empty(0)
    return np.concatenate([below if classes.below else ends, parts, above if classes.above else ends])
