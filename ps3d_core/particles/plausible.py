"""Whether labels that somebody gave are particles at all, by where the voxels of each label lie.

A particle is in one place, the voxels of a grey value are strewn over the scan. Grey values, masks and classes may be
of the same type as labels and say nothing else in their metadata, and all of them have a table.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.sums import LabelSums

STREWN: Final = 30
"""A label fills less of its bounding box than one in so many; thin flakes across the diagonal fill more."""
MANY: Final = 100
FEW_VOXELS: Final = 2.0
"""Voxels per label, in the mean, that are not exceeded where nearly each voxel has a value of its own."""


def questions_about(parts: Iterable[LabelSums], shape: Shape, name: str) -> list[str]:
    """What to ask a person about the labels of a volume of `shape`, of which `parts` are the sums by rising label.

    `InputError` when they are no particles but grey values.
    """
    labels = voxels = strewn = 0
    boxes: dict[int, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {}
    around: list[int] = []
    for part in parts:
        size = np.prod(part.high.astype(np.float64) - part.low + 1, axis=1)
        labels += len(part.labels)
        voxels += int(part.voxels.sum())
        strewn += int(part.voxels[size > STREWN * part.voxels].sum())
        for row in range(min(3 - len(boxes), len(part.labels))):
            boxes[int(part.labels[row])] = part.low[row], part.high[row]
        everywhere = (size == prod(shape)) & (part.voxels > prod(shape) / 2)
        around += part.labels[everywhere].tolist()
    if 2 * strewn > voxels or (labels > MANY and voxels < FEW_VOXELS * labels):
        raise InputError(
            f"{name}: {labels} labels of {voxels / labels:.1f} voxels each, strewn over the volume: grey values, not "
            "particles; give a label image"
        )
    if around and labels > 1:
        return [f"label {around[0]} lies around all others; background has to be 0, is it the background?"]
    if labels == 2 and set(boxes) == {1, 2} and _overlap(*boxes.values()) > 0.5:
        return ["labels 1 and 2 only, in the same place: are they border-core classes, for ps3d instances?"]
    if labels == 1:
        return [f"one label only, {next(iter(boxes))}; a mask of all particles has to be split into them first"]
    return []


def _overlap(one: tuple[npt.NDArray[Any], npt.NDArray[Any]], other: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> float:
    """Intersection over union of two boxes, given by their first and last voxels."""
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]) + 1
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (sum(float(np.prod(high - low + 1.0)) for low, high in (one, other)) - common)
