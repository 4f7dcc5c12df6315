"""Whether labels that somebody gave are particles at all, by where the voxels of each label lie.

A particle is in one place, the voxels of a grey value are strewn over the scan, and classes lie in one place together.
Grey values, masks and classes may be of the same type as labels and say nothing else in their metadata, and all of
them have a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.sums import LabelSums
from ps3d_core.scan.label_checks import FILLS, Strewn, filling

_MOST_CLASSES: Final = 10
_SAME_PLACE: Final = 0.5  # intersection over union of boxes

_Box = tuple[npt.NDArray[Any], npt.NDArray[Any]]


class Doubt(NamedTuple):
    """Reason why labels may be no particles."""

    text: str
    certain: bool
    """False where particles may look so, too."""


def doubt_about(parts: Iterable[LabelSums], shape: Shape) -> Doubt | None:
    """Return why the labels of a volume of `shape` may be no particles, None when nothing speaks against them.

    `parts` are their sums by rising label.
    """
    strewn, total = Strewn(), prod(shape)
    boxes: dict[int, _Box] = {}
    largest, most, around = 0, 0, False
    for part in parts:
        size = np.prod(part.high.astype(np.float64) - part.low + 1, axis=1)
        strewn.add(part.voxels, size)
        for row in range(min(_MOST_CLASSES + 1 - len(boxes), len(part.labels))):
            boxes[int(part.labels[row])] = part.low[row], part.high[row]
        if len(part.labels) and part.voxels.max() > most:
            row = int(part.voxels.argmax())
            largest, most, around = int(part.labels[row]), int(part.voxels[row]), bool(size[row] == total)
    if (problem := strewn.problem()) is not None:
        return Doubt(problem, certain=True)
    if strewn.labels == 1:
        text = f"one label only, {largest}, in {most / total:.0%} of the volume: a mask, to be split into particles?"
        return Doubt(text, certain=around or most > FILLS * total)  # one particle has room around it
    if most > FILLS * total:
        return Doubt(filling(largest, most / total), certain=around)
    if 1 < len(boxes) <= _MOST_CLASSES and _all_in_one_place(list(boxes.values())):
        if set(boxes) == {1, 2}:
            text = "labels 1 and 2 only, in the same place: are they border-core classes, for ps3d instances?"
        else:
            text = f"labels {', '.join(map(str, boxes))} only, all in the same place: are they classes?"
        return Doubt(text, certain=len(boxes) > 2)  # a few crooked neighbours may lie so
    return None


def _all_in_one_place(boxes: Sequence[_Box]) -> bool:
    return all(_overlap(one, other) > _SAME_PLACE for one, other in combinations(boxes, 2))


def _overlap(one: _Box, other: _Box) -> float:
    """Intersection over union of two boxes, given by their first and last voxels."""
    sides = np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]) + 1
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (sum(float(np.prod(high - low + 1.0)) for low, high in (one, other)) - common)
