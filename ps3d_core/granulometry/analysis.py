"""Size distributions of a particle table: by number, volume and mass, in classes, fitted, corrected, compared.

Columns are read one at a time, and what is kept of them does not depend on the number of particles: the analysis of ten
million takes some hundred megabytes. Curves are given at even steps of the logarithm of size, classes between sieves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.granulometry.agreement import comparison
from ps3d_core.granulometry.classes import Classes, classes_for, counted
from ps3d_core.granulometry.corrected import Seen, doubts_about, effective, seen_through, window_text
from ps3d_core.granulometry.curve import Curve, Floats, Ranking
from ps3d_core.granulometry.fits import fits_of
from ps3d_core.granulometry.intervals import LEAST, spread_of
from ps3d_core.granulometry.mass import masses
from ps3d_core.granulometry.model import Distribution, EdgeCorrection, Estimate, Fit, SieveComparison, SizeAnalysis
from ps3d_core.granulometry.source import NAME, Source
from ps3d_core.particles.window import Window
from ps3d_core.size_params import SizeParams, Weighting
from ps3d_core.store.location import Location

PER_DECADE: Final = (40, 80, 160, 320, 640)
"""Sizes of a curve per decade: as many as `FEWEST` need."""
FEWEST: Final = 60
MOST: Final = 400
PERCENTILES: Final = np.array([0.1, 0.5, 0.9])


@dataclass(frozen=True)
class _Sample:
    """Particles of a table that have a size, and what is asked of them; weights are read when they are needed."""

    source: Source
    params: SizeParams
    known: npt.NDArray[np.bool_]
    at: Floats
    classes: Classes

    def weights(self, name: Weighting) -> Floats | None:
        """Return what particles weigh (n,); None where all weigh the same."""
        if name == "number":
            return None
        volumes = _checked_volumes(self.source)
        found = masses(self.source, self.params, volumes) if name == "mass" else volumes
        return found if self.known.all() else found[self.known]

    def copied(self, name: Weighting) -> bool:
        """Whether the distribution is that by volume: all have one density."""
        return name == "mass" and self.params.density is not None


def size_analysis(table: Location, params: SizeParams | None = None, *, window: Window | None = None) -> SizeAnalysis:
    """Return the size distributions of a particle table.

    Args:
        table: particles.parquet.
        params: which size, densities, classes and measured curve; the defaults when absent.
        window: scan and region that the particles lie in, where the table does not say so itself, as those of
            earlier releases. Without either nothing is corrected for the edge.

    Raises:
        CorruptDataError: when the file is no Parquet file, or damaged.
        InputError: when it has not the columns that are asked for, or no particle of that size.

    """
    params, source = params or SizeParams(), Source.of(table)
    sizes = source.sizes(params.size)
    known = np.isfinite(sizes) & (sizes > 0)
    if not known.any():
        raise InputError(f"{table}: no particle has a size ({NAME[params.size]}); there is no size distribution")
    if not known.all():
        sizes = sizes[known]
    window = source.window or window
    seen = None if window is None else seen_through(source, window)
    notes = _notes(source, window, seen)
    if seen is not None:
        seen = seen.of(known, sizes, source)
    at, classes = curve_sizes(float(sizes.min()), float(sizes.max())), classes_for(params, sizes)
    ranking = Ranking.of(sizes)
    del sizes
    return _analysed(_Sample(source, params, known, at, classes), ranking, seen, notes)


def curve_sizes(low: float, high: float) -> Floats:
    """Return the sizes (mm, rising) at which curves of sizes from `low` to `high` are given: even in their logarithm.

    They are powers of ten by 40ths of a decade, or halves of such steps, so several samples have most in common.
    """
    decades = log10(high / low)
    step = next((step for step in PER_DECADE if step * decades >= FEWEST), PER_DECADE[-1])
    first, last = floor(step * log10(low)) - 1, ceil(step * log10(high)) + 1
    every = max(1, -(-(last - first) // MOST))
    return np.asarray(10.0 ** (np.arange(first, last + every, every) / step))


def _checked_volumes(source: Source) -> Floats:
    volumes = source.column("volume_mm3")
    if not (np.isfinite(volumes).all() and (volumes > 0).all()):
        raise InputError(
            f"{source.table}: volume_mm3 is not above 0 in all rows; it is no particle table, measure again"
        )
    return volumes


def _notes(source: Source, window: Window | None, seen: Seen | None) -> tuple[str, ...]:
    if seen is not None:
        return ()
    if window is None:
        return ("the table does not say how large the scan was; measure again to have the edge corrected",)
    if window.masked:
        return ("a mask bounds the scan; what it cuts cannot be corrected",)
    return (f"{source.table.name} has no bounding boxes; the edge cannot be corrected",)


def _analysed(sample: _Sample, ranking: Ranking, seen: Seen | None, notes: tuple[str, ...]) -> SizeAnalysis:
    found = _plain(sample, ranking)
    if sample.params.sieve is not None and sample.params.size == "equivalent":
        notes = (*notes, "a sieve gives another curve than the equivalent diameter; compare it over the size sieve")
    if len(ranking.order) < LEAST:
        notes = (*notes, f"{len(ranking.order)} particles are too few for intervals; {LEAST} are needed")
    return SizeAnalysis(
        params=sample.params,
        particles=len(ranking.order),
        left_out=len(sample.known) - len(ranking.order),
        volume_mm3=found.totals["volume"],
        mass_mg=found.totals.get("mass"),
        sizes_mm=rounded(sample.at),
        distributions=tuple(found.distributions),
        classes=sample.classes.filled(found.sums),
        classes_title=sample.classes.title,
        fits=found.fits,
        edge=None if seen is None else _corrected(sample, ranking, seen),
        sieve=found.sieve,
        notes=(*notes, *sample.classes.notes),
    )


@dataclass
class _Found:
    """What is said of a sample as it is."""

    distributions: list[Distribution] = field(default_factory=list)
    fits: dict[Weighting, tuple[Fit, ...]] = field(default_factory=dict)
    totals: dict[Weighting, float] = field(default_factory=dict)
    sums: dict[Weighting, Floats] = field(default_factory=dict)
    sieve: SieveComparison | None = None


def _plain(sample: _Sample, ranking: Ranking) -> _Found:
    found, params = _Found(), sample.params
    for name in params.weightings:
        ranked = ranking.ranked(sample.weights(name))
        curve = ranking.curve(ranked)
        found.totals[name], found.sums[name] = curve.total, counted(curve, sample.classes)
        found.fits[name] = fits_of(curve)
        if name == params.headline and params.sieve is not None:
            found.sieve = comparison(curve, params.sieve, name)
        if sample.copied(name):
            found.distributions.append(found.distributions[-1].model_copy(update={"weighting": name}))
        else:
            found.distributions.append(_distribution(name, sample, ranking, curve, ranked))
        del curve, ranked
    return found


def _distribution(name: Weighting, sample: _Sample, ranking: Ranking, curve: Curve, ranked: Floats) -> Distribution:
    spread = spread_of(ranking, curve, ranked, PERCENTILES, sample.at, sample.params.confidence)
    values = curve.percentiles(PERCENTILES).tolist()
    lows, highs = ([None] * 3, [None] * 3) if spread is None else (spread.low.tolist(), spread.high.tolist())
    d10, d50, d90 = (Estimate(value=v, low=a, high=b) for v, a, b in zip(values, lows, highs, strict=True))
    return Distribution(
        weighting=name,
        d10=d10,
        d50=d50,
        d90=d90,
        passing=rounded(curve.passing(sample.at)),
        passing_low=None if spread is None else rounded(spread.band_low),
        passing_high=None if spread is None else rounded(spread.band_high),
        in_classes=rounded(counted(curve, sample.classes) / curve.total),
    )


def _corrected(sample: _Sample, ranking: Ranking, seen: Seen) -> EdgeCorrection:
    distributions: list[Distribution] = []
    numbers: dict[Weighting, float] = {}
    whole = ranking.only(seen.weights > 0) if seen.whole else None
    for name in sample.params.weightings if whole is not None else ():
        assert whole is not None  # noqa: S101
        if sample.copied(name):
            numbers[name] = numbers["volume"]
            distributions.append(distributions[-1].model_copy(update={"weighting": name}))
            continue
        weights = sample.weights(name)
        ranked = whole.ranked(seen.weights if weights is None else np.multiply(weights, seen.weights, out=weights))
        del weights
        numbers[name] = effective(ranked)
        distributions.append(_distribution(name, sample, whole, whole.curve(ranked), ranked))
    return EdgeCorrection(
        window=window_text(seen.window),
        whole=seen.whole,
        cut=seen.cut,
        greatest_weight=float(seen.weights.max(initial=0.0)),
        effective=numbers,
        distributions=tuple(distributions),
        doubts=doubts_about(seen, numbers),
    )


def rounded(values: Floats) -> tuple[float, ...]:
    """Return values with the seven digits that they are worth."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())
