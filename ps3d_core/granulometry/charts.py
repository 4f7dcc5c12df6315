"""Charts of a size analysis: cumulative, density, classes, fits, corrected for the edge, beside a measured curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ps3d_core.granulometry.curve import Floats
from ps3d_core.granulometry.fits import fitted
from ps3d_core.granulometry.model import Distribution, SizeAnalysis
from ps3d_core.granulometry.params import Weighting
from ps3d_core.granulometry.source import NAME
from ps3d_core.particles.charts import HALF, WIDE, Series, class_chart, line_chart
from ps3d_core.particles.units import Units

if TYPE_CHECKING:
    from markupsafe import Markup

SYMBOL: Final[dict[Weighting, str]] = {"number": "Q0", "volume": "Q3", "mass": "Qm"}
"""Of the cumulative distributions, as ISO 9276-1 has them; by mass it has none of its own."""
FIT_NAMES: Final = {"rosin-rammler": "Rosin-Rammler", "log-normal": "log-normal"}
DENSITY_STEPS: Final = 20
"""Per decade, in which densities are drawn; finer ones would show single particles."""


def charts_of(analysis: SizeAnalysis, *, standalone: bool = True, units: Units | None = None) -> dict[str, Markup]:
    """Return the charts of an analysis as SVG, by name: files of their own, or parts of a page if not `standalone`.

    Sizes are in `units`, or in those that suit them.
    """
    units = units or units_of(analysis)
    charts = {
        "cumulative": line_chart(
            cumulative(analysis, units),
            **_words(analysis, units, "finer than this size", "Cumulative size distribution", standalone),
        ),
        "density": _density_chart(analysis, units, standalone),
        "classes": _class_chart(analysis, units, standalone),
    }
    more = {"fits": fits(analysis, units), "edge": edge(analysis, units), "sieve": sieve(analysis, units)}
    titles = {"fits": "Fitted distributions", "edge": "Corrected for the edge", "sieve": "Beside a measured curve"}
    for name, series in more.items():
        if series:
            words = _words(analysis, units, "finer than this size", titles[name], standalone)
            charts[name] = line_chart(series, **words)
    return charts


def units_of(analysis: SizeAnalysis) -> Units:
    """Return the units that suit the sizes of an analysis: um for fine particles."""
    return Units.for_diameter(analysis.headline.d50.value)


def shown(analysis: SizeAnalysis) -> list[Distribution]:
    """Return the distributions to draw, that by number last; by mass only where it is another one than by volume."""
    one_density = analysis.params.density is not None
    rank = {"mass": 0, "volume": 1, "number": 2}
    found = [each for each in analysis.distributions if not (one_density and each.weighting == "mass")]
    return sorted(found, key=lambda each: rank[each.weighting])


def named(analysis: SizeAnalysis, weighting: Weighting) -> str:
    """Return what a distribution is called, with its symbol."""
    if weighting == "volume" and analysis.params.density is not None:
        return "by volume, and by mass (Q3)"
    return f"by {weighting} ({SYMBOL[weighting]})"


def cumulative(analysis: SizeAnalysis, units: Units) -> list[Series]:
    """Return the cumulative curves with their intervals; the first has its percentiles marked."""
    series = []
    for k, each in enumerate(shown(analysis)):
        low, high = each.passing_low, each.passing_high
        marks = [(each.d10.value, 0.1, "D10"), (each.d50.value, 0.5, "D50"), (each.d90.value, 0.9, "D90")]
        marks = [(units.length_of(size), share, name) for size, share, name in marks]
        series.append(
            Series(
                named(analysis, each.weighting),
                units.length_of(_sizes(analysis)),
                np.array(each.passing),
                marks=marks if k == 0 else (),
                band=None if low is None or high is None else (np.array(low), np.array(high)),
            )
        )
    return series


def density(analysis: SizeAnalysis, each: Distribution) -> tuple[Floats, Floats]:
    """Return middles of classes (mm) and density there: share per unit of the natural logarithm of size.

    This is q*(ln x) = x q(x) of ISO 9276-1, of which areas in a chart over the logarithm of size are shares.
    """
    sizes, passing = _sizes(analysis), np.array(each.passing)
    per_decade = (len(sizes) - 1) / np.log10(sizes[-1] / sizes[0])
    every = max(1, round(per_decade / DENSITY_STEPS))
    chosen = np.append(np.arange(0, len(sizes) - 1, every), len(sizes) - 1)
    sizes, passing = sizes[chosen], passing[chosen]
    return np.sqrt(sizes[1:] * sizes[:-1]), np.diff(passing) / np.diff(np.log(sizes))


def fits(analysis: SizeAnalysis, units: Units) -> list[Series]:
    """Return the first curve and what was fitted to it; nothing where nothing was."""
    own, found = analysis.headline, analysis.fits[analysis.params.headline]
    if not found:
        return []
    sizes, at = _sizes(analysis), units.length_of(_sizes(analysis))
    return [
        Series(f"this table, by {own.weighting}", at, np.array(own.passing)),
        *(
            Series(f"{FIT_NAMES[each.name]}, R² {each.r2:.4f}", at, fitted(each, sizes), style="dashed")
            for each in found
        ),
    ]


def edge(analysis: SizeAnalysis, units: Units) -> list[Series]:
    """Return curves of all particles, and corrected for those that are cut; nothing where that is not known."""
    if analysis.edge is None or not analysis.edge.distributions or not analysis.edge.cut:
        return []
    series, sizes = [], units.length_of(_sizes(analysis))
    wanted = dict.fromkeys((shown(analysis)[0].weighting, "number"))
    for own in (each for each in analysis.distributions if each.weighting in wanted):
        mended = next(each for each in analysis.edge.distributions if each.weighting == own.weighting)
        series.append(Series(f"by {own.weighting}, all particles", sizes, np.array(own.passing)))
        low, high = mended.passing_low, mended.passing_high
        band = None if low is None or high is None else (np.array(low), np.array(high))
        series.append(
            Series(f"by {own.weighting}, corrected", sizes, np.array(mended.passing), style="dashed", band=band)
        )
    return series


def sieve(analysis: SizeAnalysis, units: Units) -> list[Series]:
    """Return our curve and the measured one; nothing where there is none."""
    measured, own = analysis.params.sieve, analysis.headline
    if measured is None:
        return []
    low, high = own.passing_low, own.passing_high
    band = None if low is None or high is None else (np.array(low), np.array(high))
    return [
        Series(f"this table, by {own.weighting}", units.length_of(_sizes(analysis)), np.array(own.passing), band=band),
        Series(
            measured.name[:40], units.length_of(np.array(measured.size_mm)), np.array(measured.passing), style="points"
        ),
    ]


def _density_chart(analysis: SizeAnalysis, units: Units, standalone: bool) -> Markup:
    curves = [(named(analysis, each.weighting), *density(analysis, each)) for each in shown(analysis)]
    series = [Series(name, units.length_of(sizes), shares) for name, sizes, shares in curves]
    top = _round_up(max(float(each.y.max()) for each in series))
    words = _words(analysis, units, "density q*, per unit of ln x", "Density of the size distribution", standalone)
    return line_chart(series, top=top, frame=WIDE if standalone else HALF, **words)


def _class_chart(analysis: SizeAnalysis, units: Units, standalone: bool) -> Markup:
    own, sizes = analysis.headline, analysis.sizes_mm
    bars = [
        (
            each.lower_mm or min(sizes[0], (each.upper_mm or sizes[-1]) / 1.2),
            each.upper_mm or max(sizes[-1], 1.2 * each.lower_mm),
            share,
        )
        for each, share in zip(analysis.classes, own.in_classes, strict=True)
    ]
    words = _words(analysis, units, f"share by {own.weighting}", "Shares of size classes", standalone)
    return class_chart(
        [(units.length_of(a), units.length_of(b), share) for a, b, share in bars],
        frame=WIDE if standalone else HALF,
        **words,
    )


def _words(analysis: SizeAnalysis, units: Units, y_label: str, alt: str, standalone: bool) -> dict[str, Any]:
    label = f"{NAME[analysis.params.size]}, {units.length}"
    return {"x_label": label, "y_label": y_label, "alt": alt, "standalone": standalone}


def _sizes(analysis: SizeAnalysis) -> Floats:
    return np.array(analysis.sizes_mm)


def _round_up(value: float) -> float:
    scale = 10.0 ** np.floor(np.log10(value))
    steps: Sequence[float] = (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10)
    return float(next(k * scale for k in steps if k * scale >= value))
