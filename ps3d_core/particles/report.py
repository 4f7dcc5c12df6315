"""report.html: what was found, on one page that needs no other file, no network and no script.

The page is read by people who never saw the code, so every figure says what it means. Names and parameters come from
outside; the template escapes everything that is put into the page, and the page forbids itself any script. Columns of
the table are read one at a time, which keeps memory small for millions of particles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.geometry.spacing import StatedSpacing, one_if_equal, per_axis
from ps3d_core.particles import report_sections as sections
from ps3d_core.particles.overlay import MAX_SIDE, Picture, overlay_pictures
from ps3d_core.particles.report_sections import Figures, Sample
from ps3d_core.particles.table import read_columns
from ps3d_core.particles.templating import rendered
from ps3d_core.particles.verdict import Verdict
from ps3d_core.sample_data import ID, titled
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.publishing import publish_text

if TYPE_CHECKING:
    from ps3d_core.run_facts import RunFacts

VERSION: Final = 6
"""Raise when a change of the code changes the page of one table: finished work of older code is then redone."""

MAX_BYTES: Final = 3_000_000
"""The page is never larger; pictures shrink until it is not."""

SECTIONS: Final = ("granulometry", "composition", "contacts")
"""What a page has room for beside shapes: the names of templates and of the figures that they show.

The first takes the place of plain sizes.
"""


@dataclass(frozen=True, slots=True)
class About:
    """What a page says beside what the particles themselves tell.

    Attributes:
        title: name of the scan, any text.
        sample: sample data, texts by the names of their fields.
        verdict: how far the particles can be trusted, where that is known.
        run: how they were found, where ps3d did.
        facts: what else is to be said (parameters, model, timings), nested mappings of any printable values.
        sections: figures of those of `SECTIONS` that there are.

    """

    title: str
    sample: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    run: RunFacts | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    sections: Mapping[str, Figures] = field(default_factory=dict)

    @property
    def running_title(self) -> str:
        """What stands at the head of every printed page."""
        sample = self.sample.get(ID, self.title)
        return self.title if sample == self.title else f"{self.title}, sample {sample}"


def write_report(
    report: Location,
    *,
    table: Location,
    labels: Location,
    image: Location | None,
    spacing: StatedSpacing,
    about: About,
) -> None:
    """Write the page of one scan.

    Args:
        report: the HTML file to write.
        table: particles.parquet.
        labels: the label image.
        image: grey values; without it the pictures show filled particles.
        spacing: edges of a voxel, mm: one, or three (z, y, x).
        about: what the page says beside.

    """
    columns = read_columns(table, ["voxels", "touches_border"])
    sample = Sample(
        table=table,
        shape=cast(Shape, open_image(labels).shape),
        spacing=spacing,
        voxels=columns["voxels"],
        cut=columns["touches_border"].astype(np.bool_),
    )
    worst = sections.worst(sample, labels, image)
    confidence = sections.confidence_by_label(sample)
    side = MAX_SIDE
    while True:
        pictures = overlay_pictures(labels, image, spacing=spacing, max_side=side, confidence=confidence)
        page = rendered("report.html.jinja", **page_figures(sample, pictures, about, worst))
        if len(page.encode()) <= MAX_BYTES or side <= 64:
            break
        side = side * 3 // 4
    publish_text(report, page)


def page_figures(sample: Sample, pictures: Sequence[Picture], about: About, worst: Sequence[Figures] = ()) -> Figures:
    """Return everything that the page's template shows; `worst` are the particles that a person should look at."""
    one, units = one_if_equal(sample.spacing), sample.units
    return {
        "title": about.title,
        "running_title": about.running_title,
        "sample_data": titled(about.sample),
        "unit": units,
        "shape": shape_text(sample.shape),
        "spacing": units.lengths_text([one] if isinstance(one, float | int) else one),
        "edges": units.lengths_text(n * edge for n, edge in zip(sample.shape, per_axis(sample.spacing), strict=True)),
        "slices": sections.slices(pictures, sample.spacing, units),
        "verdict": about.verdict,
        "found": sections.found(sample) if len(sample.voxels) else None,
        "worst": list(worst),
        "run": about.run,
        "facts": list(fact_lines(about.facts)),
        **{name: about.sections.get(name) for name in SECTIONS},
    }


def fact_lines(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested facts as (name, value) lines of text: {"a": {"b": 1}} is ("a / b", "1")."""
    for key, value in facts.items():
        name = f"{above} / {key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from fact_lines(value, name)
        elif isinstance(value, list | tuple):
            yield name, ", ".join(_plain(item) for item in value)
        else:
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 500 else text[:500] + " …"
