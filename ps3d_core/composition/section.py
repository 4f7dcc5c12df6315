"""Composition and liberation for people: a section of the report, its charts, and a file of all figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ps3d_core.composition.analysis import CLASSES, POINTS, CompositionAnalysis
from ps3d_core.particles.charts import Series, share_chart
from ps3d_core.particles.units import MILLIMETRES, Units
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import publish_text

if TYPE_CHECKING:
    from markupsafe import Markup

Figures = dict[str, Any]
"""What a template shows, by the names it has there."""


def composition_section(analysis: CompositionAnalysis, units: Units = MILLIMETRES) -> Figures:
    """Return composition and liberation, drawn and in figures, as `composition.html.jinja` shows them.

    Sizes are in the length of `units`.
    """
    return {
        "unit": units,
        "analysis": analysis,
        "classes": _class_words(),
        "charts": composition_charts(analysis),
        "sizes": analysis.sizes,
    }


def composition_charts(analysis: CompositionAnalysis, *, standalone: bool = False) -> dict[str, Markup]:
    """Return the charts of liberation, of exposure, and of grade and recovery, as SVG by name.

    `standalone` makes files of their own, which bring their colours.
    """
    cuts = np.linspace(0, 1, POINTS)
    by = analysis.by
    phases = [phase for phase in analysis.phases if phase.particles]
    liberation = [Series(phase.name, cuts, np.array(phase.liberation)) for phase in phases]
    exposure = [Series(phase.name, cuts, np.array(phase.exposure)) for phase in phases]
    grade = [Series(phase.name, np.array(phase.recovery), np.array(phase.grade)) for phase in phases]
    return {
        "liberation": share_chart(
            liberation,
            x_label=f"share of the phase in a particle ({by}), at least",
            y_label="share of all of the phase",
            alt="Liberation by composition",
            standalone=standalone,
        ),
        "exposure": share_chart(
            exposure,
            x_label="share of the phase in a particle's surface, at least",
            y_label="share of all of the phase",
            alt="Liberation by exposed surface",
            standalone=standalone,
        ),
        "grade_recovery": share_chart(
            grade,
            x_label=f"recovery of the phase ({by})",
            y_label=f"grade ({by})",
            alt="Grade and recovery",
            standalone=standalone,
        ),
    }


def composition_csv(analysis: CompositionAnalysis | None) -> str:
    """Return all figures as CSV, one a line: what it is, of which phase, from and up to what, and its value.

    There is only the line of names where no particle shows a phase.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["figure", "phase", "from", "to", "value"])
    writer.writerows([] if analysis is None else _rows(analysis))
    return text.getvalue()


def write_composition(file: Location, analysis: CompositionAnalysis | None) -> None:
    """Write composition.csv, see `composition_csv`."""
    publish_text(file, composition_csv(analysis))


def _rows(analysis: CompositionAnalysis) -> Iterator[tuple[str, str, str, str, str]]:
    for phase in analysis.phases:
        yield "volume share", phase.name, "", "", _number(phase.volume_share)
        if phase.mass_share is not None:
            yield "mass share", phase.name, "", "", _number(phase.mass_share)
        yield "surface share", phase.name, "", "", _number(phase.surface_share)
        yield "particles with it", phase.name, "", "", str(phase.particles)
        yield "inclusions", phase.name, "", "", str(phase.inclusions)
        yield "in particles above 90 %", phase.name, "", "", _number(phase.liberated)
        for (name, low), high in zip(CLASSES, [1.0, *(low for _, low in CLASSES[:-1])], strict=True):
            yield name, phase.name, _number(low), _number(high), _number(phase.classes[name])
        for what, values in (("liberation", phase.liberation), ("exposure", phase.exposure), ("grade", phase.grade)):
            for k, value in enumerate(values):
                yield what, phase.name, _number(k / (POINTS - 1)), "1", _number(value)
    for size in analysis.sizes:
        limits = _number(size.low_mm), _number(size.high_mm)
        yield "share of the sample, diameter in mm", "", *limits, _number(size.share)
        for name, value in size.grades.items():
            yield "share in the size class, diameter in mm", name, *limits, _number(value)
        for name, value in size.distribution.items():
            yield "share of the phase, diameter in mm", name, *limits, _number(value)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _class_words() -> list[tuple[str, str]]:
    highs = [None, *(low for _, low in CLASSES[:-1])]
    return [
        (name, f"at least {100 * low:g} %" if high is None else f"{100 * low:g} to {100 * high:g} %")
        for (name, low), high in zip(CLASSES, highs, strict=True)
    ]
