"""Line charts and histograms as inline SVG: no script, sharp at any size, coloured by the page's style sheet.

Classes the page must style: `grid`, `axis`, `tick`, `bar`, `line` and `marker`; series carry `s0`, `s1`, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of a chart in pixels of the width it is meant to be shown at, so that its letters come out in size."""

    width: int
    height: int

    def x(self, fraction: float) -> float:
        """Pixel of a position between the left (0) and right (1) end of the x axis."""
        return _LEFT + (self.width - _LEFT - _RIGHT) * fraction

    def y(self, fraction: float) -> float:
        """Pixel of a position between the bottom (0) and top (1) of the y axis."""
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * fraction


WIDE: Final = Frame(960, 340)
HALF: Final = Frame(480, 240)

_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 14, 48


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve; `marks` are (x, y, text) points to point out on it."""

    name: str
    x: Floats
    y: Floats
    marks: Sequence[tuple[float, float, str]] = ()


def line_chart(series: Sequence[Series], *, x_label: str, y_label: str, alt: str, frame: Frame = WIDE) -> str:
    """Curves of fractions (y from 0 to 1, shown in percent) over a logarithmic x axis."""
    low, high = float(min(s.x[0] for s in series)), float(max(s.x[-1] for s in series))
    low, high = (low / 1.1, high * 1.1) if high / low < 1.2 else (low / 1.02, high * 1.02)

    def px(x: float) -> float:
        return frame.x(log10(x / low) / log10(high / low))

    body = [_y_axis(frame, [(k / 4, f"{25 * k} %") for k in range(5)], y_label)]
    body.append(_x_axis(frame, [(px(x), f"{x:g}") for x in log_ticks(low, high)], x_label))
    for i, curve in enumerate(series):
        pairs = zip(curve.x.tolist(), curve.y.tolist(), strict=True)
        points = " ".join(f"{px(x):.1f},{frame.y(y):.1f}" for x, y in pairs)
        body.append(f'<polyline class="line s{i}" points="{points}"><title>{escape(curve.name)}</title></polyline>')
        for x, y, text in curve.marks:
            # Above and left of a rising curve there is room.
            left, up = px(x) - 8, frame.y(y) - 8
            body.append(f'<circle class="marker s{i}" cx="{px(x):.1f}" cy="{frame.y(y):.1f}" r="4"/>')
            body.append(f'<text class="name" x="{left:.1f}" y="{up:.1f}" text-anchor="end">{escape(text)}</text>')
    return _svg(frame, body, alt)


def histogram(counts: npt.NDArray[np.int64], edges: Floats, *, x_label: str, alt: str, frame: Frame = HALF) -> str:
    """Bars of `counts` (n,) between `edges` (n + 1,)."""
    top = nice_ceiling(max(1, int(counts.max(initial=0))))
    low, high = float(edges[0]), float(edges[-1])

    def px(x: float) -> float:
        return frame.x((x - low) / (high - low))

    ticks = [0, top // 2, top] if top % 2 == 0 else [0, top]
    body = [_y_axis(frame, [(t / top, f"{t:,}") for t in ticks], "particles")]
    body.append(_x_axis(frame, [(px(x), f"{x:g}") for x in np.linspace(low, high, 6).round(6).tolist()], x_label))
    for count, a, b in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        upper = frame.y(count / top)
        body.append(
            f'<rect class="bar" x="{px(a) + 0.75:.1f}" y="{upper:.1f}" '
            f'width="{px(b) - px(a) - 1.5:.1f}" height="{frame.y(0) - upper:.1f}">'
            f"<title>{a:g} to {b:g}: {count:,} particles</title></rect>"
        )
    return _svg(frame, body, alt)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between `low` and `high` for a logarithmic axis, about 3 to 10 of them."""
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(1 + k / 10 for k in range(90))):
        decades = range(floor(log10(low)), ceil(log10(high)) + 1)
        ticks = [float(f"{s * 10.0**d:.12g}") for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) >= 3:
            return ticks[:: ceil(len(ticks) / 10)]
    return [float(f"{low:.3g}"), float(f"{high:.3g}")]


def nice_ceiling(value: int) -> int:
    """The smallest of 1, 2, 4, 6, 8 times a power of ten that is not below `value`."""
    scale: int = 10 ** floor(log10(value))
    return next(k * scale for k in (1, 2, 4, 6, 8, 10) if k * scale >= value)


def _x_axis(frame: Frame, ticks: Sequence[tuple[float, str]], label: str) -> str:
    base = frame.y(0)
    parts = [f'<line class="axis" x1="{frame.x(0)}" x2="{frame.x(1)}" y1="{base}" y2="{base}"/>']
    for x, text in ticks:
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 19}" text-anchor="middle">{text}</text>')
    below = frame.height - 6
    parts.append(f'<text class="name" x="{frame.x(0.5)}" y="{below}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def _y_axis(frame: Frame, ticks: Sequence[tuple[float, str]], label: str) -> str:
    parts = []
    for fraction, text in ticks:
        y = frame.y(fraction)
        parts.append(f'<line class="grid" x1="{frame.x(0)}" x2="{frame.x(1)}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{frame.x(0) - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    turned = f"translate(12 {frame.y(0.5)}) rotate(-90)"
    parts.append(f'<text class="name" transform="{turned}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def _svg(frame: Frame, body: Sequence[str], alt: str) -> str:
    return (
        f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{escape(alt)}">{"".join(body)}</svg>'
    )
