"""report.html: what was found, on one page that needs no other file, no network and no script.

The page is read by people who never saw the code, so every figure says what it means. Names and parameters come from
outside; everything that is put into the page is escaped, and the page forbids itself any script. Columns of the
table are read one at a time, which keeps memory small for millions of particles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final, cast

import numpy as np

from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.particles import report_sections as sections
from ps3d_core.particles.overlay import MAX_SIDE, Picture, overlay_pictures
from ps3d_core.particles.report_sections import Sample
from ps3d_core.particles.rounding import significant
from ps3d_core.particles.table import read_columns
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.publishing import publish_text

VERSION: Final = 1
"""Raise when a change of the code changes the page of one table: finished work of older code is then redone."""

MAX_BYTES: Final = 3_000_000
"""The page is never larger; pictures shrink until it is not."""


def write_report(
    report: Location,
    *,
    table: Location,
    labels: Location,
    image: Location | None,
    spacing: float,
    title: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the page of one scan.

    Args:
        report: the HTML file to write.
        table: particles.parquet.
        labels: the label image.
        image: grey values; without it the pictures show filled particles.
        spacing: edge of a voxel, mm.
        title: name of the scan, any text.
        facts: what is to be said about the run (parameters, model, timings), nested mappings of any printable values.

    """
    columns = read_columns(table, ["voxels", "touches_border"])
    sample = Sample(
        table=table,
        shape=cast(Shape, open_image(labels).shape),
        spacing=spacing,
        voxels=columns["voxels"],
        cut=columns["touches_border"].astype(np.bool_),
    )
    side = MAX_SIDE
    while True:
        page = render(sample, overlay_pictures(labels, image, max_side=side), title, facts or {})
        if len(page.encode()) <= MAX_BYTES or side <= 64:
            break
        side = side * 3 // 4
    publish_text(report, page)


def render(sample: Sample, pictures: Sequence[Picture], title: str, facts: Mapping[str, Any]) -> str:
    """The whole page as HTML."""
    length = " x ".join(significant(n * sample.spacing) for n in sample.shape)
    subtitle = f"Scan of {shape_text(sample.shape)} voxels (z, y, x) of {significant(sample.spacing)} mm: {length} mm."
    seen = sections.pictures(pictures, sample.spacing)
    if len(sample.voxels):
        body = [
            sections.tiles(sample),
            sections.border_note(sample),
            seen,
            sections.sizes(sample),
            sections.shapes(sample),
            sections.largest(sample),
        ]
    else:
        body = ['<p class="note">No particle was found in this scan.</p>', seen]
    body += [_facts(facts), _meaning()]
    template = Template((files(__package__) / "report_template.html").read_text("utf-8"))
    return template.substitute(title=escape(title), subtitle=escape(subtitle), body="\n".join(body))


def fact_lines(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as (name, value) lines of text, not yet escaped: {"a": {"b": 1}} is ("a / b", "1")."""
    for key, value in facts.items():
        name = f"{above} / {key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from fact_lines(value, name)
        elif isinstance(value, list | tuple):
            yield name, ", ".join(_plain(item) for item in value)
        else:
            yield name, _plain(value)


def _facts(facts: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in fact_lines(facts))
    if not rows:
        return ""
    return f'<section><h2>How it was made</h2><table class="facts">{rows}</table></section>'


def _meaning() -> str:
    terms = {
        "Particle": "All voxels that carry one number in the label image; one row of particles.csv and "
        "particles.parquet.",
        "Equivalent diameter": "Diameter of the ball that has the particle's volume. All sizes on this page are "
        "equivalent diameters.",
        "Principal axes": "Axes of the ellipsoid with the same volume distribution (second moments) as the particle.",
        "Surface area": "Estimated by Crofton's formula from 13 directions; within a few percent, uncertain for "
        "particles of few voxels.",
        "Position": "Distance in mm from the centre of the scan's first voxel.",
    }
    text = "".join(f"<dt>{term}</dt><dd>{words}</dd>" for term, words in terms.items())
    return f"<section><details><summary>What the words mean</summary><dl>{text}</dl></details></section>"


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 500 else text[:500] + " …"
