"""Sections of the report: each turns the particle table or the pictures into a piece of HTML.

Text that comes from outside (names, parameters) does not pass here; what does is numbers and words of this file.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.charts import Series, histogram, line_chart
from ps3d_core.particles.distribution import SizeDistribution, Weighting, passing_curve, size_distribution
from ps3d_core.particles.overlay import Picture
from ps3d_core.particles.rounding import round_length, significant
from ps3d_core.particles.table import read_columns
from ps3d_core.store.location import Location

MIN_SHAPE_VOXELS: Final = 100
"""Particles with fewer voxels have no shape worth showing."""

ZINGG_LIMIT: Final = 2 / 3
LARGEST: Final = 10
MAX_HEIGHT: Final = 640
"""Greatest height of a slice on the page, CSS pixels."""
CURVE_POINTS: Final = 240
WEIGHTINGS: Final[tuple[Weighting, ...]] = ("volume", "number")

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the page says about: the table's file and the columns that are needed throughout."""

    table: Location
    shape: Shape
    spacing: float
    voxels: Integers
    cut: npt.NDArray[np.bool_]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column of the table."""
        return read_columns(self.table, [name])[name]


def tiles(sample: Sample) -> str:
    """The figures to read first."""
    total = int(sample.voxels.sum())
    sizes = cast(SizeDistribution, size_distribution(sample.voxels, sample.spacing, "volume"))
    tiles = [
        (f"{len(sample.voxels):,}", "particles"),
        (f"{significant(sizes.d10)} mm", "D10: 10 % of the volume is finer"),
        (f"{significant(sizes.d50)} mm", "D50: half of the volume is finer"),
        (f"{significant(sizes.d90)} mm", "D90: 90 % of the volume is finer"),
        (f"{significant(total * sample.spacing**3)} mm³", "volume of all particles"),
        (f"{100 * total / prod(sample.shape):.1f} %", "of the scan's volume is particles"),
    ]
    return f'<div class="tiles">{"".join(f"<div class=tile><b>{a}</b><span>{b}</span></div>" for a, b in tiles)}</div>'


def border_note(sample: Sample) -> str:
    """What the edge of the scan does to the figures."""
    cut = int(sample.cut.sum())
    if cut == 0:
        return '<p class="note">No particle touches the edge of the scan: all were seen whole.</p>'
    share = 100 * cut / len(sample.cut)
    text = (
        f"<strong>{cut:,} of {len(sample.cut):,} particles ({share:.1f} %) touch the edge of the scan</strong> and may "
        "be cut by it: what is measured is the part inside. They are counted in every figure here and marked in the "
        "table (column <code>touches_border</code>)."
    )
    inside = size_distribution(sample.voxels[~sample.cut], sample.spacing, "volume")
    if inside is not None:
        text += (
            f" Without them D50 would be {significant(inside.d50)} mm; that figure leans to the fine side, because "
            "coarse particles touch the edge more often."
        )
    return f'<p class="note">{text}</p>'


def pictures(slices: Sequence[Picture], spacing: float) -> str:
    """The slices, with a switch for the outlines."""
    grey = any(picture.grey for picture in slices)
    control = (
        '<input type="checkbox" id="outlines" checked> <label for="outlines">Show outlines</label>'
        if grey
        else '<input type="checkbox" id="outlines" checked hidden>'
    )
    text = (
        "Three slices through the middle of the scan. Lines are the outlines of the particles over the grey values; "
        if grey
        else "Three slices through the middle of the scan, with every particle filled; "
    )
    shown = "".join(_picture(picture, spacing) for picture in slices)
    return (
        f"<section><h2>What was found</h2><p>{text}a particle has the same colour in all pictures.</p>"
        f'{control}<div class="pictures {"three" if len(slices) == 3 else "two"}">{shown}</div></section>'
    )


def sizes(sample: Sample) -> str:
    """Cumulative size distribution, drawn and in figures."""
    curves, rows = size_curves(sample), []
    for weighting in WEIGHTINGS:
        found = cast(SizeDistribution, size_distribution(sample.voxels, sample.spacing, weighting))
        cells = "".join(f'<td class="n">{significant(d)}</td>' for d in (found.d10, found.d50, found.d90))
        rows.append(f'<tr><th>by {weighting}</th>{cells}<td class="n">{found.span:.2f}</td></tr>')
    chart = line_chart(
        curves, x_label="equivalent diameter, mm", y_label="finer than this size", alt="Cumulative size distribution"
    )
    keys = "".join(f'<span class="key s{i}"></span>{curve.name}' for i, curve in enumerate(curves))
    return (
        "<section><h2>Size distribution</h2><p>The share of the material that is finer than a given size. By volume "
        "is what a sieve would weigh if all particles had one density; by number counts every particle once, so that "
        f'fine ones dominate.</p><p class="soft">{keys}</p>{chart}'
        '<div class="scroll"><table><tr><th></th><th class="n">D10, mm</th><th class="n">D50, mm</th>'
        '<th class="n">D90, mm</th><th class="n">span (D90 − D10) / D50</th></tr>'
        f"{''.join(rows)}</table></div></section>"
    )


def size_curves(sample: Sample) -> list[Series]:
    """The cumulative size distribution under each weighting; the first has its percentiles marked."""
    curves = []
    for weighting in WEIGHTINGS:
        found = cast(SizeDistribution, size_distribution(sample.voxels, sample.spacing, weighting))
        diameters, passing = passing_curve(sample.voxels, sample.spacing, weighting)
        x = np.geomspace(diameters[0], diameters[-1], CURVE_POINTS)
        marks = [(found.d10, 0.1, "D10"), (found.d50, 0.5, "D50"), (found.d90, 0.9, "D90")]
        curves.append(
            Series(
                name=f"by {weighting}",
                x=x,
                y=np.interp(x, diameters, passing),
                marks=marks if weighting == "volume" else (),
            )
        )
    return curves


def shapes(sample: Sample) -> str:
    """Histograms of shape descriptors and the classes of Zingg."""
    large = sample.voxels >= MIN_SHAPE_VOXELS
    if not large.any():
        return (
            "<section><h2>Shape</h2><p>No particle has the "
            f"{MIN_SHAPE_VOXELS} voxels that a statement about its shape needs.</p></section>"
        )
    words = {
        "sphericity": "Surface of a ball of the same volume divided by the particle's surface: 1 is a ball; angular, "
        "flat or rough particles have less.",
        "elongation": "Intermediate by longest axis: 1 is not elongated, a needle is near 0.",
        "flatness": "Shortest by intermediate axis: 1 is not flat, a flake is near 0.",
    }
    edges = np.linspace(0.0, 1.0, 41)
    charts, kept = [], {}
    for name, text in words.items():
        kept[name] = sample.column(name)[large]
        counts = np.histogram(np.clip(np.nan_to_num(kept[name]), 0, 1), edges)[0]
        chart = histogram(counts, edges, x_label=name, alt=f"Histogram of {name}")
        middle = f"Median {np.nanmedian(kept[name]):.2f}."
        charts.append(f"<figure><h3>{name.capitalize()}</h3>{chart}<figcaption>{text} {middle}</figcaption></figure>")
    charts.append(_zingg(kept["elongation"], kept["flatness"]))
    left_out = len(large) - int(large.sum())
    note = f" {left_out:,} smaller ones are left out." if left_out else ""
    return (
        f"<section><h2>Shape</h2><p>Particles of at least {MIN_SHAPE_VOXELS} voxels; fewer voxels show no shape."
        f'{note}</p><div class="two">{"".join(charts)}</div></section>'
    )


def largest(sample: Sample) -> str:
    """The largest particles, one line each."""
    rows, columns = largest_particles(sample)
    title = f"The {len(rows)} largest particles" if len(rows) > 1 else "The largest particle"
    heads = ["label", "diameter, mm", "volume, mm³", "longest axis, mm", "shortest axis, mm", "sphericity"]
    lines = []
    for i, (label, *numbers) in enumerate(zip(*columns.values(), strict=True)):
        cells = "".join(f'<td class="n">{significant(v)}</td>' for v in numbers[:-3])
        centre = ", ".join(significant(v) for v in numbers[-3:])
        edge = "yes" if sample.cut[rows[i]] else ""
        lines.append(f'<tr><td class="n">{label}</td>{cells}<td class="n">{centre}</td><td>{edge}</td></tr>')
    head = "".join(f'<th class="n">{h}</th>' for h in heads)
    return (
        f"<section><h2>{title}</h2><p>A particle far larger than the others is often several that "
        'touch and were not told apart: look at it in the label image.</p><div class="scroll"><table>'
        f'<tr>{head}<th class="n">centre z, y, x, mm</th><th>at the edge</th></tr>'
        f"{''.join(lines)}</table></div></section>"
    )


def largest_particles(sample: Sample) -> tuple[Integers, dict[str, list[Any]]]:
    """Rows of the table that hold the largest particles, largest first, and some of their columns."""
    n = min(LARGEST, len(sample.voxels))
    # Equal sizes go by position in the table, so the same table gives the same page.
    kth = np.partition(sample.voxels, -n)[-n]
    rows = np.flatnonzero(sample.voxels >= kth)
    rows = rows[np.argsort(-sample.voxels[rows], kind="stable")][:n]
    names = ["label", "diameter_mm", "volume_mm3", "axis_long_mm", "axis_short_mm", "sphericity"]
    names += [f"centroid_{axis}_mm" for axis in "zyx"]
    return rows, {name: sample.column(name)[rows].tolist() for name in names}


def _picture(picture: Picture, spacing: float) -> str:
    height, width = picture.extent
    bar = round_length(width * spacing / 4)
    where = f"perpendicular to {picture.axis}, at {picture.axis} = {picture.index}"
    reduced = f"; {picture.step} voxels per pixel" if picture.step > 1 else ""
    window = "; the middle in full resolution" if picture.is_window else ""
    caption = f"Slice {where}; {picture.right} runs to the right, {picture.down} down{reduced}{window}."
    grey = "" if picture.grey is None else f'<img alt="" src="{_data(picture.grey)}">'
    # In true proportions and never higher than a screen: what is left beside a slender slice stays black.
    style = f"aspect-ratio:{width}/{height};max-width:{MAX_HEIGHT * width / height:.2f}px"
    return (
        f'<figure><div class="frame{" has-grey" if picture.grey else ""}"><div class="slice" style="{style}">'
        f'{grey}<img class="outlines" alt="Particles in the slice {where}" src="{_data(picture.outlines)}">'
        f'<div class="scale" style="width:{100 * bar / (width * spacing):.2f}%">{bar:g} mm</div></div></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _zingg(elongation: npt.NDArray[np.float64], flatness: npt.NDArray[np.float64]) -> str:
    long, flat = elongation < ZINGG_LIMIT, flatness < ZINGG_LIMIT
    classes = [
        ("compact", "neither elongated nor flat", ~long & ~flat),
        ("disc", "flat", ~long & flat),
        ("rod", "elongated", long & ~flat),
        ("blade", "elongated and flat", long & flat),
    ]
    rows = "".join(
        f'<tr><th>{name}</th><td>{text}</td><td class="n">{int(which.sum()):,}</td>'
        f'<td class="n">{100 * which.mean():.1f} %</td></tr>'
        for name, text, which in classes
    )
    return (
        "<figure><h3>Classes of Zingg</h3>"
        f'<table><tr><th>class</th><th></th><th class="n">particles</th><th class="n">share</th></tr>{rows}</table>'
        "<figcaption>A particle is elongated, or flat, when that ratio is below 2/3.</figcaption></figure>"
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
