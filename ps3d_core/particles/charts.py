"""Line charts and histograms as inline SVG: no script, sharp at any size, coloured by the page's style sheet.

Classes the page must style: `grid`, `axis`, `tick`, `bar`, `line`, `dashed`, `band`, `dot` and `marker`; series carry
`s0`, `s1`, ... A file of its own brings its colours, and says what its curves are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10, sqrt
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ps3d_core.particles.templating import rendered

if TYPE_CHECKING:
    from markupsafe import Markup

Floats = npt.NDArray[np.float64]


Style = Literal["line", "dashed", "points"]


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of a chart in pixels of the width it is meant to be shown at, so that its letters come out in size."""

    width: int
    height: int

    def x(self, fraction: float) -> float:
        """Return the pixel of a position between the left (0) and right (1) end of the x axis."""
        return _LEFT + (self.width - _LEFT - _RIGHT) * fraction

    def y(self, fraction: float) -> float:
        """Return the pixel of a position between the bottom (0) and top (1) of the y axis."""
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * fraction


WIDE: Final = Frame(960, 340)
HALF: Final = Frame(480, 240)

_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 14, 48


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve.

    Attributes:
        name: what it is called.
        x: positions, rising.
        y: values at these.
        marks: (x, y, text) points to point out on it.
        style: how it is drawn; points are joined by a thin line.
        band: values between which it lies for certain, at the same positions.

    """

    name: str
    x: Floats
    y: Floats
    marks: Sequence[tuple[float, float, str]] = ()
    style: Style = "line"
    band: tuple[Floats, Floats] | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """Text of an axis: its label and its ticks; a tick is its pixel along the axis and its text."""

    label: str
    ticks: Sequence[tuple[float, str]]


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    frame: Frame = WIDE,
    standalone: bool = False,
    top: float | None = None,
) -> Markup:
    """Return a chart of curves of fractions (y from 0 to 1, shown in percent) over a logarithmic x axis, as SVG.

    `standalone` makes a file of its own, which brings its colours. With a `top` the values are no fractions, and it is
    the end of their axis.
    """
    low, high = float(min(s.x[0] for s in series)), float(max(s.x[-1] for s in series))
    low, high = (low / 1.1, high * 1.1) if high / low < 1.2 else (low / 1.02, high * 1.02)

    def px(x: float) -> float:
        return frame.x(log10(x / low) / log10(high / low))

    x_axis = Axis(x_label, [(px(x), f"{x:g}") for x in log_ticks(low, high)])
    curves = [_curve(curve, frame, px, top or 1.0) for curve in series]
    y_axis = _shares(y_label, frame) if top is None else _numbers(y_label, frame, top)
    return _chart(frame, x_axis, y_axis, alt, curves=curves, standalone=standalone)


def class_chart(
    bars: Sequence[tuple[float, float, float]],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    frame: Frame = WIDE,
    standalone: bool = False,
) -> Markup:
    """Return bars of fractions (lower end, upper end, fraction) over a logarithmic x axis, as SVG.

    `standalone` makes a file of its own, which brings its colours.
    """
    low, high = min(each[0] for each in bars) / 1.02, max(each[1] for each in bars) * 1.02
    percent = nice_ceiling(max(1, ceil(100 * max(each[2] for each in bars))))

    def px(x: float) -> float:
        return frame.x(log10(x / low) / log10(high / low))

    x_axis = Axis(x_label, [(px(x), f"{x:g}") for x in log_ticks(low, high)])
    y_axis = Axis(y_label, [(frame.y(k / 4), f"{percent * k / 4:g} %") for k in range(5)])
    drawn = [
        (px(a), px(b), frame.y(100 * share / percent), f"{a:g} to {b:g}: {100 * share:.1f} %") for a, b, share in bars
    ]
    return _chart(frame, x_axis, y_axis, alt, bars=drawn, standalone=standalone)


def share_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, alt: str, frame: Frame = HALF, standalone: bool = False
) -> Markup:
    """Return a chart of curves of fractions over fractions (x and y from 0 to 1, shown in percent), as SVG.

    `standalone` makes a file of its own, which brings its colours.
    """
    x_axis = Axis(x_label, [(frame.x(k / 4), f"{25 * k} %") for k in range(5)])
    curves = [_curve(curve, frame, frame.x) for curve in series]
    return _chart(frame, x_axis, _shares(y_label, frame), alt, curves=curves, standalone=standalone)


def histogram(counts: npt.NDArray[np.int64], edges: Floats, *, x_label: str, alt: str, frame: Frame = HALF) -> Markup:
    """Return a histogram with bars of `counts` (n,) between `edges` (n + 1,), as SVG."""
    top = nice_ceiling(max(1, int(counts.max(initial=0))))
    low, high = float(edges[0]), float(edges[-1])

    def px(x: float) -> float:
        return frame.x((x - low) / (high - low))

    ticks = [0, top // 2, top] if top % 2 == 0 else [0, top]
    bars = [
        (px(a), px(b), frame.y(count / top), f"{a:g} to {b:g}: {count:,} particles")
        for count, a, b in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    x_axis = Axis(x_label, [(px(x), f"{x:g}") for x in np.linspace(low, high, 6).round(6).tolist()])
    y_axis = Axis("particles", [(frame.y(t / top), f"{t:,}") for t in ticks])
    return _chart(frame, x_axis, y_axis, alt, bars=bars)


def profile_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, alt: str, frame: Frame = HALF, standalone: bool = False
) -> Markup:
    """Return a chart of curves of fractions (y from 0 to 1, shown in percent) over a linear x axis, as SVG.

    Points without a value (NaN) are left out. `standalone` makes a file of its own, which brings its colours.
    """
    low, high = float(min(s.x.min() for s in series)), float(max(s.x.max() for s in series))
    low, high = (low - 0.5, high + 0.5) if high <= low else (low, high)

    def px(x: float) -> float:
        return frame.x((x - low) / (high - low))

    x_axis = Axis(x_label, [(px(x), f"{x:g}") for x in linear_ticks(low, high)])
    known = [Series(each.name, each.x[~np.isnan(each.y)], each.y[~np.isnan(each.y)], each.marks) for each in series]
    curves = [_curve(curve, frame, px) for curve in known]
    return _chart(frame, x_axis, _shares(y_label, frame), alt, curves=curves, standalone=standalone)


def whole_numbers(
    counts: npt.NDArray[np.int64], *, x_label: str, y_label: str, alt: str, frame: Frame = HALF
) -> Markup:
    """Return a histogram with a bar for every whole number 0, 1, ... of which there are `counts` (n,), as SVG."""
    top, n = nice_ceiling(max(1, int(counts.max(initial=0)))), max(1, len(counts))
    ticks = [0, top // 2, top] if top % 2 == 0 else [0, top]
    bars = [
        (frame.x(k / n), frame.x((k + 1) / n), frame.y(count / top), f"{k}: {count:,} {y_label}")
        for k, count in enumerate(counts.tolist())
    ]
    x_axis = Axis(x_label, [(frame.x((k + 0.5) / n), f"{k}") for k in range(0, n, ceil(n / 13))])
    y_axis = Axis(y_label, [(frame.y(t / top), f"{t:,}") for t in ticks])
    return _chart(frame, x_axis, y_axis, alt, bars=bars)


def classed_histogram(
    counts: npt.NDArray[np.int64],
    edges: Floats,
    classes: Sequence[int | None],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    standalone: bool = False,
) -> Markup:
    """Return a histogram whose bars have the colour of their class, as SVG.

    Heights are square roots of `counts` (n,), so that what is rare is seen; bars lie between `edges` (n + 1,), and
    those of class None are grey. `standalone` makes a file of its own, which brings its colours.
    """
    top = nice_ceiling(max(1, int(counts.max(initial=0))))
    low, high = float(edges[0]), float(edges[-1])

    def px(x: float) -> float:
        return WIDE.x((x - low) / (high - low))

    ends = zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), classes, strict=True)
    bars = [
        (px(a), px(b), WIDE.y(sqrt(n / top)), f"{a:.4g} to {b:.4g}: {n:,}", "none" if kind is None else f"s{kind}")
        for n, a, b, kind in ends
    ]
    x_axis = Axis(x_label, [(px(x), f"{x:g}") for x in linear_ticks(low, high)])
    y_axis = Axis(y_label, [(WIDE.y(sqrt(share)), f"{int(share * top):,}") for share in (0, 0.0625, 0.25, 1)])
    return _chart(WIDE, x_axis, y_axis, alt, bars=bars, standalone=standalone)


def trend_chart(
    series: Sequence[Series],
    *,
    ticks: Sequence[tuple[float, str]],
    x_label: str,
    y_label: str,
    alt: str,
    frame: Frame = WIDE,
) -> Markup:
    """Return a chart of values over time, every one a dot, as SVG.

    x of the series and of the `ticks` runs from 0 at the left to 1 at the right; y is in the unit that `y_label` names.
    """
    values = np.concatenate([each.y for each in series])
    low, high = float(values.min()), float(values.max())
    margin = (high - low) / 10 or abs(high) / 10 or 1.0
    low, high = low - margin, high + margin
    placed = [Series(each.name, each.x, (each.y - low) / (high - low)) for each in series]
    dotted = [
        Series(each.name, each.x, each.y, [(x, y, "") for x, y in zip(each.x.tolist(), each.y.tolist(), strict=True)])
        for each in placed
    ]
    x_axis = Axis(x_label, [(frame.x(x), text) for x, text in ticks])
    y_axis = Axis(y_label, [(frame.y((y - low) / (high - low)), f"{y:g}") for y in linear_ticks(low, high)])
    return _chart(frame, x_axis, y_axis, alt, curves=[_curve(each, frame, frame.x) for each in dotted])


def linear_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between `low` and `high`, above it, for a linear axis, about 4 to 8 of them."""
    scale = 10.0 ** floor(log10((high - low) / 4))
    step = max(k * scale for k in (1, 2, 2.5, 5) if k * scale <= (high - low) / 4 * (1 + 1e-9))
    return [float(f"{k * step:.12g}") for k in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between `low` and `high` for a logarithmic axis, about 3 to 10 of them."""
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(1 + k / 10 for k in range(90))):
        decades = range(floor(log10(low)), ceil(log10(high)) + 1)
        ticks = [float(f"{s * 10.0**d:.12g}") for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) >= 3:
            return ticks[:: ceil(len(ticks) / 10)]
    return [float(f"{low:.3g}"), float(f"{high:.3g}")]


def nice_ceiling(value: int) -> int:
    """Return the smallest of 1, 2, 4, 6, 8 times a power of ten that is not below `value`."""
    scale: int = 10 ** floor(log10(value))
    return next(k * scale for k in (1, 2, 4, 6, 8, 10) if k * scale >= value)


def _shares(label: str, frame: Frame) -> Axis:
    return Axis(label, [(frame.y(k / 4), f"{25 * k} %") for k in range(5)])


def _numbers(label: str, frame: Frame, top: float) -> Axis:
    return Axis(label, [(frame.y(k / 4), f"{top * k / 4:.3g}") for k in range(5)])


def _curve(curve: Series, frame: Frame, px: Callable[[float], float], top: float = 1.0) -> dict[str, Any]:
    def along(y: Floats, step: int = 1) -> str:
        points = list(zip(curve.x.tolist(), y.tolist(), strict=True))[::step]
        return " ".join(f"{px(x):.1f},{frame.y(y / top):.1f}" for x, y in points)

    return {
        "name": curve.name,
        "style": curve.style,
        "points": along(curve.y),
        "band": None if curve.band is None else f"{along(curve.band[0])} {along(curve.band[1], -1)}",
        "marks": [(px(x), frame.y(y / top), text) for x, y, text in curve.marks],
        "dots": [point.split(",") for point in along(curve.y).split()] if curve.style == "points" else [],
    }


def _chart(
    frame: Frame,
    x_axis: Axis,
    y_axis: Axis,
    alt: str,
    *,
    curves: Sequence[Mapping[str, Any]] = (),
    bars: Sequence[tuple[float, float, float, str] | tuple[float, float, float, str, str]] = (),
    standalone: bool = False,
) -> Markup:
    return rendered(
        "chart.svg.jinja",
        frame=frame,
        x_axis=x_axis,
        y_axis=y_axis,
        alt=alt,
        curves=curves,
        bars=bars,
        standalone=standalone,
    )
