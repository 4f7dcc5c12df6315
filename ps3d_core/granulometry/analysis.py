"""Size distributions of a particle table: by number, volume and mass, in classes, fitted, corrected, compared.

Columns are read one at a time, and what is kept of them does not depend on the number of particles: the analysis of ten
million takes some hundred megabytes. Curves are given at even steps of the logarithm of size, classes between sieves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.granulometry.agreement import comparison
from ps3d_core.granulometry.classes import Classes, classes_for, counted
from ps3d_core.granulometry.corrected import Seen, doubts_about, effective, seen_through, window_text
from ps3d_core.granulometry.curve import Curve, Floats, Ranking
from ps3d_core.granulometry.fits import fits_of
from ps3d_core.granulometry.intervals import LEAST, spread_of
from ps3d_core.granulometry.mass import masses
from ps3d_core.granulometry.model import Distribution, EdgeCorrection, Estimate, Fit, SizeAnalysis
from ps3d_core.granulometry.params import SizeParams, Weighting
from ps3d_core.granulometry.source import NAME, Source
from ps3d_core.particles.window import Window
from ps3d_core.store.location import Location

PER_DECADE: Final = (40, 80, 160, 320, 640)
"""Sizes of a curve per decade: as many as `FEWEST` need."""
FEWEST: Final = 60
MOST: Final = 400
PERCENTILES: Final = np.array([0.1, 0.5, 0.9])


@dataclass(frozen=True)
class _Sample:
    """Particles that have a size: it, volume and mass (n,), and what is asked of them."""

    sizes: Floats
    weights: dict[Weighting, Floats | None]
    params: SizeParams
    at: Floats
    classes: Classes


def size_analysis(table: Location, params: SizeParams | None = None, *, window: Window | None = None) -> SizeAnalysis:
    """Return the size distributions of a particle table.

    Args:
        table: particles.parquet.
        params: which size, densities, classes and measured curve; the defaults when absent.
        window: scan and region that the particles lie in; what the table says of it when absent. Without either
            nothing is corrected for the edge.

    Raises:
        CorruptDataError: when the file is no Parquet file, or damaged.
        InputError: when it has not the columns that are asked for, or no particle of that size.

    """
    params, source = params or SizeParams(), Source.of(table)
    sizes = source.sizes(params.size)
    known = np.isfinite(sizes) & (sizes > 0)
    left_out = len(sizes) - int(known.sum())
    if left_out == len(sizes):
        raise InputError(f"{table}: no particle with a {NAME[params.size]}; there is no size distribution")
    volumes = _checked_volumes(source)
    weights: dict[Weighting, Floats | None] = {"number": None, "volume": volumes}
    if params.knows_mass:
        weights["mass"] = masses(source, params, volumes)
    window = window or source.window
    seen = None if window is None else seen_through(source, window)
    if left_out:
        sizes, weights = sizes[known], {name: None if w is None else w[known] for name, w in weights.items()}
        seen = None if seen is None else _of(seen, known)
    at, classes = curve_sizes(float(sizes.min()), float(sizes.max())), classes_for(params, sizes)
    return _analysed(_Sample(sizes, weights, params, at, classes), seen, left_out, _notes(source, window, seen))


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


def _of(seen: Seen, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Seen:
    flags = seen.flags[rows]
    return Seen(seen.window, seen.weights[rows], int(flags.sum()), seen.vast, flags)


def _notes(source: Source, window: Window | None, seen: Seen | None) -> tuple[str, ...]:
    if seen is not None:
        return ()
    if window is None:
        return ("the table does not say how large the scan was; measure again to have the edge corrected",)
    if window.masked:
        return ("a mask bounds the scan; what it cuts cannot be corrected",)
    return (f"{source.table.name} has no bounding boxes; the edge cannot be corrected",)


def _analysed(sample: _Sample, seen: Seen | None, left_out: int, notes: tuple[str, ...]) -> SizeAnalysis:
    params, ranking = sample.params, Ranking.of(sample.sizes)
    distributions: list[Distribution] = []
    fits: dict[Weighting, tuple[Fit, ...]] = {}
    totals: dict[Weighting, float] = {}
    sieve, sums = None, {}
    for name, weights in sample.weights.items():
        curve = ranking.curve(weights)
        totals[name], fits[name], sums[name] = curve.total, fits_of(curve), counted(curve, sample.classes)
        if name == params.headline and params.sieve is not None:
            sieve = comparison(curve, params.sieve, name)
        if name == "mass" and params.density is not None:
            distributions.append(distributions[-1].model_copy(update={"weighting": name}))
            continue
        distributions.append(_distribution(name, sample, ranking, curve, weights))
    if len(sample.sizes) < LEAST:
        notes = (*notes, f"{len(sample.sizes)} particles are too few for intervals; {LEAST} are needed")
    return SizeAnalysis(
        params=params,
        particles=len(sample.sizes),
        left_out=left_out,
        volume_mm3=totals["volume"],
        mass_mg=totals.get("mass"),
        sizes_mm=rounded(sample.at),
        distributions=tuple(distributions),
        classes=sample.classes.filled(sums),
        classes_title=sample.classes.title,
        fits=fits,
        edge=None if seen is None else _corrected(sample, seen),
        sieve=sieve,
        notes=(*notes, *sample.classes.notes),
    )


def _distribution(
    name: Weighting, sample: _Sample, ranking: Ranking, curve: Curve, weights: Floats | None
) -> Distribution:
    spread = spread_of(ranking, weights, PERCENTILES, sample.at, sample.params.confidence)
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


def _corrected(sample: _Sample, seen: Seen) -> EdgeCorrection:
    rows, edge = seen.whole, seen.weights[seen.whole]
    distributions, numbers = [], {}
    ranking = Ranking.of(sample.sizes[rows]) if len(rows) else None
    for name, weights in sample.weights.items():
        own = edge if weights is None else edge * weights[rows]
        numbers[name] = effective(own)
        if name == "mass" and sample.params.density is not None and distributions:
            distributions.append(distributions[-1].model_copy(update={"weighting": name}))
        elif ranking is not None:
            distributions.append(_distribution(name, sample, ranking, ranking.curve(own), own))
    volumes = sample.weights["volume"]
    assert volumes is not None  # noqa: S101
    return EdgeCorrection(
        window=window_text(seen.window),
        whole=len(rows),
        cut=seen.cut,
        greatest_weight=float(edge.max(initial=0.0)),
        effective=numbers,
        distributions=tuple(distributions),
        doubts=doubts_about(seen, sample.sizes, volumes, numbers),
    )


def rounded(values: Floats) -> tuple[float, ...]:
    """Return values with the seven digits that they are worth."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())
