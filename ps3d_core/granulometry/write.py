"""Files of a size analysis: two tables for spreadsheets, every chart as SVG and PNG, and all of it as JSON.

The same analysis gives the same bytes. Numbers have seven digits, lines end in a line feed, columns are separated by
commas. Nothing in the tables is text from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from ps3d_core.granulometry.charts import charts_of
from ps3d_core.granulometry.model import Distribution, SizeAnalysis
from ps3d_core.particles.png import png_of
from ps3d_core.store.claim import Output, check_outputs
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import is_published, publish, withdraw

CURVE: Final = "size_distribution.csv"
CLASSES: Final = "size_classes.csv"
ALL: Final = "size_distribution.json"
CHARTS: Final = ("cumulative", "density", "classes", "fits", "edge", "sieve")
NAMES: Final = (CURVE, CLASSES, ALL, *(f"size_{name}.{kind}" for name in CHARTS for kind in ("svg", "png")))
"""Every file that an analysis may have."""


def write_sizes(analysis: SizeAnalysis, folder: Location) -> list[Location]:
    """Write the tables and charts of an analysis into a folder; return the files.

    Raise `InputError` when a file of such a name is there that ps3d did not write.
    """
    contents = contents_of(analysis)
    check_outputs(Output(folder / name, is_published) for name in NAMES)
    for name in NAMES:
        if name in contents:
            publish(folder / name, contents[name])
        elif is_published(folder / name):
            withdraw(folder / name)  # of an earlier analysis, beside which this one would be mistaken
    return [folder / name for name in contents]


def contents_of(analysis: SizeAnalysis) -> Mapping[str, bytes]:
    """Return the files of an analysis by name."""
    charts = {name: str(chart) for name, chart in charts_of(analysis).items()}
    return {
        CURVE: curve_table(analysis).encode(),
        CLASSES: class_table(analysis).encode(),
        ALL: (analysis.model_dump_json(indent=1) + "\n").encode(),
        **{f"size_{name}.svg": chart.encode() for name, chart in charts.items()},
        **{f"size_{name}.png": png_of(chart) for name, chart in charts.items()},
    }


def curve_table(analysis: SizeAnalysis) -> str:
    """Return the curves as CSV: a row per size, per distribution Q with its interval, density and corrected Q.

    `density_*_per_mm` is q(x) of ISO 9276-1 in the step that ends at this size, `log_density_*` is q*(ln x).
    """
    sizes = np.array(analysis.sizes_mm)
    columns: dict[str, Iterable[float | None]] = {"size_mm": analysis.sizes_mm}
    for each in analysis.distributions:
        name, rise = each.weighting, np.diff(each.passing, prepend=0.0)
        columns[f"passing_{name}"] = each.passing
        columns[f"passing_{name}_low"] = each.passing_low or [None] * len(sizes)
        columns[f"passing_{name}_high"] = each.passing_high or [None] * len(sizes)
        columns[f"retained_{name}"] = (1 - np.array(each.passing)).tolist()
        columns[f"density_{name}_per_mm"] = [None, *(rise[1:] / np.diff(sizes)).tolist()]
        columns[f"log_density_{name}"] = [None, *(rise[1:] / np.diff(np.log(sizes))).tolist()]
    for each in () if analysis.edge is None else analysis.edge.distributions:
        columns[f"corrected_passing_{each.weighting}"] = each.passing
        columns[f"corrected_passing_{each.weighting}_low"] = each.passing_low or [None] * len(sizes)
        columns[f"corrected_passing_{each.weighting}_high"] = each.passing_high or [None] * len(sizes)
    return _csv(columns)


def class_table(analysis: SizeAnalysis) -> str:
    """Return the classes as CSV, the finest first: what lies in each, and what passes and stays on its upper sieve."""
    classes = analysis.classes
    columns: dict[str, Iterable[float | str | None]] = {
        "class": [each.name for each in classes],
        "lower_mm": [each.lower_mm for each in classes],
        "upper_mm": [each.upper_mm for each in classes],
        "number": [each.number for each in classes],
        "volume_mm3": [each.volume_mm3 for each in classes],
    }
    if analysis.mass_mg is not None:
        columns["mass_mg"] = [each.mass_mg for each in classes]
    for each in analysis.distributions:
        columns |= _shares(each, each.weighting)
    for each in () if analysis.edge is None else analysis.edge.distributions:
        columns |= _shares(each, f"{each.weighting}_corrected")
    return _csv(columns)


def _shares(distribution: Distribution, name: str) -> dict[str, Iterable[float | str | None]]:
    upto = np.minimum(np.cumsum(distribution.in_classes), 1.0)
    return {
        f"share_{name}": distribution.in_classes,
        f"passing_upper_{name}": upto.tolist(),
        f"retained_upper_{name}": (1 - upto).tolist(),
    }


def _csv(columns: Mapping[str, Iterable[float | str | None]]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(_cell, row)) for row in rows)]) + "\n"


def _cell(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return str(value) if isinstance(value, int) else f"{value + 0.0:.7g}"
