"""What the report says, section by section, as the figures that its templates show. Words and markup are theirs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import StatedSpacing, mean_spacing
from ps3d_core.particles.charts import Series, histogram, line_chart
from ps3d_core.particles.crops import crops_of, most_doubtful
from ps3d_core.particles.distribution import (
    SizeDistribution,
    Weighting,
    equivalent_diameter,
    passing_curve,
    size_distribution,
    volume_of,
)
from ps3d_core.particles.doubt import UNSURE
from ps3d_core.particles.overlay import Picture
from ps3d_core.particles.rounding import round_length
from ps3d_core.particles.table import column_names, read_columns
from ps3d_core.particles.units import MILLIMETRES, Units
from ps3d_core.store.location import Location

if TYPE_CHECKING:
    from markupsafe import Markup

MIN_SHAPE_VOXELS: Final = 100
"""Particles with fewer voxels have no shape worth showing."""

ZINGG_LIMIT: Final = 2 / 3
DESCRIPTORS: Final = ("sphericity", "elongation", "flatness", "solidity", "corey", "roundness")
"""Columns of which histograms are shown, where the table has them."""
LARGEST: Final = 10
MAX_HEIGHT: Final = 640
"""Greatest height of a slice on the page, CSS pixels."""
CURVE_POINTS: Final = 240
WEIGHTINGS: Final[tuple[Weighting, ...]] = ("volume", "number")

Figures = dict[str, Any]
"""What a template shows, by the names it has there."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Table that the page is about, with the columns that are needed throughout."""

    table: Location
    shape: Shape
    spacing: StatedSpacing
    voxels: Integers
    cut: npt.NDArray[np.bool_]

    @property
    def units(self) -> Units:
        """Units for particles of this size: that of the ball of their mean volume."""
        return units_for(self.voxels, self.spacing)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column of the table."""
        return read_columns(self.table, [name])[name]


def units_for(voxels: Integers, spacing: StatedSpacing) -> Units:
    """Return the units for particles of `voxels` (n,) of edges `spacing` (mm), by the ball of their mean volume."""
    return Units.for_diameter(float(equivalent_diameter(voxels.mean(), spacing))) if len(voxels) else MILLIMETRES


def found(sample: Sample) -> Figures:
    """Return everything that is said of a sample with at least one particle."""
    return {
        "overview": overview(sample),
        "edge": edge(sample),
        "sizes": sizes(sample),
        "shapes": shapes(sample),
        "largest": largest(sample),
    }


def overview(sample: Sample) -> Figures:
    """Return the figures to read first; volume in mm³, share of the scan's volume in percent."""
    total = int(sample.voxels.sum())
    return {
        "particles": len(sample.voxels),
        "sizes": size_distribution(sample.voxels, sample.spacing, "volume"),
        "volume": volume_of(total, sample.spacing),
        "percent": 100 * total / prod(sample.shape),
    }


def edge(sample: Sample) -> Figures:
    """Return how many particles the edge of the scan cuts, and the sizes of those it does not."""
    cut = int(sample.cut.sum())
    return {
        "cut": cut,
        "percent": 100 * cut / len(sample.cut),
        "sizes_inside": size_distribution(sample.voxels[~sample.cut], sample.spacing, "volume"),
    }


def slices(pictures: Sequence[Picture], spacing: StatedSpacing, units: Units) -> list[Figures]:
    """Return the pictures with their files as data: URLs, the length of a scale bar and of what it is part of."""
    shown, mean = [], mean_spacing(spacing)
    for picture in pictures:
        height, width = picture.proportions
        shown.append(
            {
                "picture": picture,
                "grey": None if picture.grey is None else data_url(picture.grey),
                "outlines": data_url(picture.outlines),
                "doubt": None if picture.doubt is None else data_url(picture.doubt),
                "across": units.length_of(width * mean),
                "bar": round_length(units.length_of(width * mean) / 4),
                "max_width": MAX_HEIGHT * width / height,
            }
        )
    return shown


def worst(sample: Sample, labels: Location, image: Location | None) -> list[Figures]:
    """Return the particles that a person should look at, with pictures, the worst first."""
    particles, spacing, units = most_doubtful(sample.table, UNSURE), sample.spacing, sample.units
    return [each | {"slices": slices(crops_of(each, labels, image, spacing), spacing, units)} for each in particles]


def confidence_by_label(sample: Sample) -> npt.NDArray[np.float64] | None:
    """Return the confidence of each label, that of label 0 first; None where none is known."""
    label, confidence = (sample.column(name) for name in ("label", "confidence"))
    confidence = confidence.astype(np.float64)
    if not len(label) or np.isnan(confidence).all():
        return None
    by_label = np.ones(int(label.max()) + 1)
    by_label[label] = confidence
    return by_label


def sizes(sample: Sample) -> Figures:
    """Return the cumulative size distribution, drawn and in figures."""
    rows = [size_distribution(sample.voxels, sample.spacing, weighting) for weighting in WEIGHTINGS]
    return {"chart": size_chart(sample), "rows": rows}


def size_chart(sample: Sample, *, standalone: bool = False) -> Markup:
    """Return the cumulative size distribution under each weighting as SVG; `standalone` makes a file of its own."""
    return line_chart(
        size_curves(sample),
        x_label=f"equivalent diameter, {sample.units.length}",
        y_label="share finer than this size",
        alt="Cumulative size distribution",
        standalone=standalone,
    )


def size_curves(sample: Sample) -> list[Series]:
    """Return the cumulative size distribution under each weighting; the first has its percentiles marked."""
    curves, units = [], sample.units
    for weighting in WEIGHTINGS:
        found = cast(SizeDistribution, size_distribution(sample.voxels, sample.spacing, weighting))
        diameters, passing = passing_curve(sample.voxels, sample.spacing, weighting)
        x = np.geomspace(diameters[0], diameters[-1], CURVE_POINTS)
        marks = [(found.d10, 0.1, "D10"), (found.d50, 0.5, "D50"), (found.d90, 0.9, "D90")]
        marks = [(units.length_of(size), share, name) for size, share, name in marks]
        curves.append(
            Series(
                name=f"by {weighting}",
                x=units.length_of(x),
                y=np.interp(x, diameters, passing),
                marks=marks if weighting == "volume" else (),
            )
        )
    return curves


def shapes(sample: Sample) -> Figures:
    """Return histograms and medians of shape descriptors and the classes of Zingg, of particles with enough voxels."""
    large = sample.voxels >= MIN_SHAPE_VOXELS
    said: Figures = {"least_voxels": MIN_SHAPE_VOXELS, "left_out": len(large) - int(large.sum()), "descriptors": {}}
    if large.any():
        known = set(column_names(sample.table))
        columns = {name: sample.column(name)[large] for name in DESCRIPTORS if name in known}
        said["descriptors"] = {name: _descriptor(name, column) for name, column in columns.items()}
        said["zingg"] = _zingg(columns["elongation"], columns["flatness"])
    return said


def largest(sample: Sample) -> list[Figures]:
    """Return the largest particles, one line each; lengths in mm, volumes in mm³."""
    rows, columns = largest_particles(sample)
    names = ("label", "diameter", "volume", "longest", "shortest", "sphericity")
    lines = zip(rows, zip(*columns.values(), strict=True), strict=True)
    return [
        dict(zip(names, values, strict=False)) | {"centre": values[-3:], "cut": bool(sample.cut[row])}
        for row, values in lines
    ]


def largest_particles(sample: Sample) -> tuple[Integers, dict[str, list[Any]]]:
    """Return the rows of the table that hold the largest particles, largest first, and some of their columns."""
    n = min(LARGEST, len(sample.voxels))
    # Equal sizes go by position in the table, so the same table gives the same page.
    kth = np.partition(sample.voxels, -n)[-n]
    rows = np.flatnonzero(sample.voxels >= kth)
    rows = rows[np.argsort(-sample.voxels[rows], kind="stable")][:n]
    names = ["label", "diameter_mm", "volume_mm3", "axis_long_mm", "axis_short_mm", "sphericity"]
    names += [f"centroid_{axis}_mm" for axis in "zyx"]
    return rows, {name: sample.column(name)[rows].tolist() for name in names}


def _descriptor(name: str, column: npt.NDArray[np.float64]) -> Figures:
    counts = np.histogram(np.clip(np.nan_to_num(column), 0, 1), np.linspace(0.0, 1.0, 41))[0]
    chart = histogram(counts, np.linspace(0.0, 1.0, 41), x_label=name, alt=f"Histogram of {name}")
    return {"chart": chart, "median": float(np.nanmedian(column))}


def _zingg(elongation: npt.NDArray[np.float64], flatness: npt.NDArray[np.float64]) -> list[tuple[str, str, int, float]]:
    """Name, meaning, number of particles and their share in percent."""
    long, flat = elongation < ZINGG_LIMIT, flatness < ZINGG_LIMIT
    classes = [
        ("compact", "neither elongated nor flat", ~long & ~flat),
        ("disc", "flat", ~long & flat),
        ("rod", "elongated", long & ~flat),
        ("blade", "elongated and flat", long & flat),
    ]
    return [(name, meaning, int(which.sum()), 100 * float(which.mean())) for name, meaning, which in classes]


def data_url(png: bytes) -> str:
    """Return a PNG as the URL of an image that is part of its page."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
