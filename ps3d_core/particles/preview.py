"""A result at a glance, for places that show a summary beside a run: small pictures, one curve, a few rows.

The report has all of it in full. Pictures come from the coarser levels of the images, so that they cost little for
any scan, and are compressed hard; the curve brings its colours with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import imagecodecs
import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.particles import report_sections as sections
from ps3d_core.particles.distribution import size_distribution
from ps3d_core.particles.overlay import Picture, overlay_pictures
from ps3d_core.particles.report_sections import Sample
from ps3d_core.particles.table import read_columns
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_levels, open_image

MAX_SIDE: Final = 400
"""Longest side of a picture's grey values in pixels."""

_QUALITY: Final = 80


def sample_of(labels: Location, table: Location, spacing: StatedSpacing) -> Sample:
    """Return a particle table with the columns of it that are needed throughout; `spacing` in mm."""
    columns = read_columns(table, ["voxels", "touches_border"])
    return Sample(
        table=table,
        shape=cast(Shape, open_image(labels).shape),
        spacing=spacing,
        voxels=columns["voxels"],
        cut=columns["touches_border"].astype(np.bool_),
    )


def pictures(
    labels: Location, image: Location | None, max_side: int = MAX_SIDE, *, spacing: StatedSpacing = 1.0
) -> list[tuple[str, bytes]]:
    """Return JPEG pictures of three slices, each after the axis that it is perpendicular to.

    Outlines of particles are drawn over grey values. `spacing` are the edges of a voxel, in any unit.
    """
    found = overlay_pictures(*_coarse_levels(labels, image, max_side), spacing=spacing, max_side=max_side)
    return [(picture.axis, _flattened(picture)) for picture in found if not picture.is_window]


def size_curve(sample: Sample) -> str:
    """Return the cumulative size distribution by volume and by number as an SVG file."""
    return sections.size_chart(sample, standalone=True)


def size_rows(sample: Sample) -> list[dict[str, Any]]:
    """Return D10, D50, D90 (mm) by volume and by number, one row each."""
    by = {weighting: size_distribution(sample.voxels, sample.spacing, weighting) for weighting in sections.WEIGHTINGS}
    return [
        {"percentile": mark.upper()} | {f"by_{w}_mm": _rounded(getattr(found, mark)) for w, found in by.items()}
        for mark in ("d10", "d50", "d90")
    ]


def largest_rows(sample: Sample) -> list[dict[str, Any]]:
    """Return the largest particles, one row each.

    The centroid is one column, so that the table fits beside other things.
    """
    rows, columns = sections.largest_particles(sample)
    shown: dict[str, list[Any]] = {name: [_rounded(value) for value in values] for name, values in columns.items()}
    centroids = zip(*(shown.pop(f"centroid_{axis}_mm") for axis in "zyx"), strict=True)
    shown["centroid_zyx_mm"] = [", ".join(f"{value:g}" for value in centroid) for centroid in centroids]
    shown["at_edge"] = ["yes" if cut else "no" for cut in sample.cut[rows]]
    return [dict(zip(shown, values, strict=True)) for values in zip(*shown.values(), strict=True)]


def _rounded(value: float) -> float:
    """As many digits as a voxel's edge justifies; whole numbers stay what they are."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _coarse_levels(labels: Location, image: Location | None, max_side: int) -> tuple[Location, Location | None]:
    """The coarsest level that both images have alike and that is not coarser than the pictures."""
    levels = image_levels(labels)
    beside: Sequence[Location | None] = [None] * len(levels) if image is None else image_levels(image)
    # Scans of other programs may have fewer levels than our labels; a bare array has one.
    pairs = list(zip(levels, beside, strict=False))
    chosen = pairs[0]
    for pair in pairs[1:]:
        places = [place for place in pair if place is not None]
        # What the metadata of others promise need not be there, and nothing but pictures depends on it.
        if not all(place.exists() for place in places):
            break
        shapes = {open_image(place).shape for place in places}
        if len(shapes) > 1 or max(max(shape) for shape in shapes) < max_side:
            break
        chosen = pair
    return chosen


def _flattened(picture: Picture) -> bytes:
    outlines: npt.NDArray[np.uint8] = imagecodecs.png_decode(picture.outlines)
    base = np.zeros(outlines.shape[:2], np.uint8)
    if picture.grey is not None:
        base = _stretched(imagecodecs.png_decode(picture.grey), base.shape)
    outlines, base = (_in_proportion(each, picture) for each in (outlines, base))
    colours = np.where(outlines[..., 3:] > 0, outlines[..., :3], base[..., None])
    return bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(colours), level=_QUALITY))


def _in_proportion(plane: npt.NDArray[np.uint8], picture: Picture) -> npt.NDArray[np.uint8]:
    """The pixels of a picture in a frame of its proportions, with as many of them along its longer side."""
    height, width = picture.proportions
    (rows, columns), longer = plane.shape[:2], max(height, width)
    if picture.edges[0] == picture.edges[1]:
        return plane
    side = max(rows, columns)
    return _stretched(plane, (max(1, round(side * height / longer)), max(1, round(side * width / longer))))


def _stretched(plane: npt.NDArray[np.uint8], shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """`plane` in a frame of more pixels."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, plane.shape[:2], strict=True))
    return plane[np.ix_(rows, columns)]
