"""compare.html: what a comparison found, on a page of the kind of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.comparison.binned import Binned
from ps3d_core.comparison.differences import ALL_PAIRS, Difference, median
from ps3d_core.comparison.scan import ScanFigures, common_phases, common_shapes
from ps3d_core.particles.charts import HALF, WIDE, Frame, Series, line_chart, profile_chart, trend_chart
from ps3d_core.particles.rounding import significant
from ps3d_core.particles.templating import rendered
from ps3d_core.particles.units import Units
from ps3d_core.sample_data import ID
from ps3d_core.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup

CURVE_POINTS: Final = 200
COLOURS: Final = 8
"""Scans that have a colour of their own; of more, all are drawn alike but the last."""
FEWEST_OF_A_TREND: Final = 3
DATES: Final = 6
"""Labels of an axis of time, at most."""

CALLED: Final = {"corey": "Corey shape factor"}
"""Descriptors whose columns have shorter names."""

Figures = dict[str, Any]


def compare_page(scans: Sequence[ScanFigures], found: Sequence[Difference]) -> str:
    """Return the whole page as HTML."""
    return str(rendered("compare.html.jinja", **page_figures(scans, found)))


def page_figures(scans: Sequence[ScanFigures], found: Sequence[Difference]) -> Figures:
    """Return everything that the page's template shows."""
    units = Units.for_diameter(float(np.median([scan.by_volume.d50 for scan in scans])))
    shapes, phases = common_shapes(list(scans)), common_phases(list(scans))
    listed = [each for each in found if len(scans) <= ALL_PAIRS or each.of == "size" or each.shown]
    return {
        "title": f"Comparison of {len(scans)} scans",
        "running_title": f"Comparison of {len(scans)} scans",
        "version": __version__,
        "unit": units,
        "coloured": len(scans) <= COLOURS,
        "scans": [_scan(scan, units, phases) for scan in scans],
        "phases": phases,
        "curves": _curves(scans, units),
        "trends": _trends(scans, units) if len(scans) >= FEWEST_OF_A_TREND else [],
        "shapes": [_shape(scans, name) for name in shapes],
        "differences": [
            _difference(each, scans, units) | {"begins": at == 0 or _pair(each) != _pair(listed[at - 1])}
            for at, each in enumerate(listed)
        ],
        "all_pairs": len(scans) <= ALL_PAIRS,
    }


def _scan(scan: ScanFigures, units: Units, phases: Sequence[str]) -> Figures:
    return {
        "name": scan.name,
        "sample": scan.sample.get(ID, ""),
        "date": "" if scan.date is None else scan.date.date().isoformat(),
        "verdict": scan.verdict or "",
        "particles": scan.particles,
        "sizes": [units.length_text(size) for size in (scan.by_volume.d10, scan.by_volume.d50, scan.by_volume.d90)],
        "interval": [units.length_text(end) for end in scan.d50_interval],
        "percent": scan.percent,
        "phases": [scan.phases[name].value * 100 for name in phases],
    }


def _curves(scans: Sequence[ScanFigures], units: Units) -> Markup:
    series = []
    for scan in scans:
        finer, edges = scan.sizes.finer(weighted=True), scan.sizes.edges[1:]
        used = np.flatnonzero(scan.sizes.counts)
        x = np.geomspace(edges[used[0]] / 1.001, edges[used[-1]], CURVE_POINTS)
        y = np.interp(x, np.concatenate([edges[used[:1]] / 1.001, edges[used]]), np.concatenate([[0.0], finer[used]]))
        series.append(Series(scan.name, units.length_of(x), y))
    return line_chart(
        series,
        x_label=f"equivalent diameter, {units.length}",
        y_label="volume finer than this size",
        alt="Cumulative size distributions by volume",
    )


def _shape(scans: Sequence[ScanFigures], name: str) -> Figures:
    series = [Series(scan.name, scan.shapes[name].edges[::10], _from_zero(scan.shapes[name])) for scan in scans]
    called = CALLED.get(name, name)
    chart = profile_chart(series, x_label=called, y_label="share of particles below", alt=f"Curves of {called}")
    medians = [median(scan.shapes[name]) for scan in scans]
    return {"title": called[:1].upper() + called[1:], "chart": chart, "medians": medians}


def _from_zero(binned: Binned) -> npt.NDArray[np.float64]:
    """The share below every tenth edge, the first of which nothing is below."""
    return np.concatenate([[0.0], binned.finer()])[::10]


def _trends(scans: Sequence[ScanFigures], units: Units) -> list[Figures]:
    times = _times(scans)
    sizes = {
        f"D{share}": units.length_of(np.array([getattr(scan.by_volume, f"d{share}") for scan in scans]))
        for share in (10, 50, 90)
    }
    name = "Size over time" if times.label == "date" else "Size, scan by scan"
    trends = [_trend(name, sizes, f"diameter by volume, {units.length}", times, WIDE)]
    if all(scan.percent is not None for scan in scans):
        shares = {"share": np.array([scan.percent for scan in scans], np.float64)}
        trends.append(_trend("Share of particles", shares, "particles, % of the scan", times))
    numbers = {"particles": np.array([scan.particles for scan in scans], np.float64)}
    return [*trends, _trend("Number of particles", numbers, "number of particles", times)]


def _trend(
    name: str, values: Mapping[str, npt.NDArray[np.float64]], y_label: str, times: _Times, frame: Frame = HALF
) -> Figures:
    series = [Series(line, times.at, each) for line, each in values.items()]
    ticks = times.ticks if frame is WIDE or len(times.ticks[0][1]) < 4 else [times.ticks[0], times.ticks[-1]]
    chart = trend_chart(series, ticks=ticks, x_label=times.label, y_label=y_label, alt=name, frame=frame)
    return {"name": name, "lines": list(values), "chart": chart}


class _Times(NamedTuple):
    """Places of scans along an axis, 0 to 1, its ticks, and what it is."""

    at: npt.NDArray[np.float64]
    ticks: list[tuple[float, str]]
    label: str


def _times(scans: Sequence[ScanFigures]) -> _Times:
    """An axis of time, or of the order of the scans where their dates are not all known."""
    dates = [scan.date for scan in scans if scan.date is not None]
    span = (dates[-1] - dates[0]).total_seconds() if len(dates) == len(scans) else 0.0
    if span <= 0:
        at = np.linspace(0.02, 0.98, len(scans))
        shown = range(0, len(scans), max(1, -(-len(scans) // 12)))
        return _Times(at, [(float(at[k]), str(k + 1)) for k in shown], "scan, in the order of the table")
    at = np.array([0.05 + 0.9 * (date - dates[0]).total_seconds() / span for date in dates])
    shares = np.linspace(0, 1, min(DATES, len(scans))).tolist()
    ticks = [(0.05 + 0.9 * share, _day(dates[0] + (dates[-1] - dates[0]) * share, span)) for share in shares]
    return _Times(at, ticks, "date")


def _day(when: datetime, span: float) -> str:
    if span > 6 * 86400:
        return when.date().isoformat()
    return when.strftime("%m-%d %H:%M" if span > 3600 else "%H:%M:%S")


def _difference(each: Difference, scans: Sequence[ScanFigures], units: Units) -> Figures:
    is_size, is_phase = each.of == "size", each.of.startswith("phase ")
    scale = units.per_mm if is_size else 100 if is_phase else 1.0
    unit = f" {units.length}" if is_size else " points" if is_phase else ""
    change = None if each.change is None else f"{_signed(each.change * scale, ratio=not unit)}{unit}"
    ends = [] if each.interval is None else [_signed(end * scale) for end in each.interval]
    return {
        "first": scans[each.first].name,
        "second": scans[each.second].name,
        "of": CALLED.get(each.of, each.of),
        "what": "D50" if is_size else "share" if is_phase else "median",
        "distance": "" if is_phase else f"{100 * each.distance:.1f} %",
        "at": "" if each.at is None or is_phase else f"{significant(each.at * scale)}{unit}",
        "p": "< 0.001" if each.p < 1e-3 else f"{each.p:.3f}",
        "change": change or "",
        "interval": " to ".join(ends),
        "shown": each.shown,
        "words": each.words,
    }


def _pair(each: Difference) -> tuple[int, int]:
    return each.first, each.second


def _signed(value: float, *, ratio: bool = False) -> str:
    text = f"{abs(value):.3f}" if ratio else significant(abs(value))
    return text if float(text.replace(",", "")) == 0 else f"{'+' if value > 0 else '−'}{text}"
