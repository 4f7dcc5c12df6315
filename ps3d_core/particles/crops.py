"""The particles that a person should look at first, each in three slices through its middle."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import StatedSpacing, relative_spacing
from ps3d_core.particles.overlay import Picture, pictures_of, slice_of
from ps3d_core.particles.table import read_columns
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

SHOWN: Final = 6
MAX_SIDE: Final = 160
"""Longest side of a crop in pixels."""
_AROUND: Final = 0.75
"""What is shown on each side of a particle, as a share of its longest side."""
_PLACE: Final = tuple(f"bbox_{axis}_{end}" for end in ("start", "stop") for axis in "zyx")


def most_doubtful(table: Location, below: float) -> list[dict[str, Any]]:
    """Return the particles of least confidence, the worst first, at most `SHOWN`, none with `below` or more.

    Each has its label, confidence, diameter_mm, doubts and the corners of its bounding box.
    """
    confidence = read_columns(table, ["confidence"])["confidence"].astype(np.float64)
    rows = np.argsort(np.where(np.isnan(confidence), np.inf, confidence), kind="stable")[:SHOWN]
    rows = rows[confidence[rows] < below]
    names = ("label", "confidence", "diameter_mm", "doubts", *_PLACE)
    columns = [read_columns(table, [name])[name][rows].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def crops_of(
    particle: dict[str, Any], labels: Location, image: Location | None, spacing: StatedSpacing = 1.0
) -> list[Picture]:
    """Return slices perpendicular to z, y and x through the middle of a particle's box, with what is around it.

    `spacing` are the edges of a voxel, in any unit.
    """
    shape = cast(Shape, open_image(labels).shape)
    start, stop = (np.array([particle[name] for name in part]) for part in (_PLACE[:3], _PLACE[3:]))
    edges = np.array(relative_spacing(spacing))
    z, y, x = (max(2, int(_AROUND * ((stop - start) * edges).max() / edge)) for edge in edges)
    around = Box(tuple(start), tuple(stop)).grow((z, y, x), shape)
    boxes = [(axis, slice_of(around, axis, int(middle))) for axis, middle in enumerate((start + stop) // 2)]
    return pictures_of(boxes, labels, image, spacing=spacing, max_side=MAX_SIDE)
