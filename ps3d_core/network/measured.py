"""How accurate a model is at each level of quality, as far as its bundle's record says.

A row of `accuracy` in bundle.json that names a quality is of a whole level, the others are of single scans:

    {"quality": "standard", "stride": 0.75, "sigma": 0.25, "mirrorings": 2, "passes": 4.74,
     "mean_f1_at_0.5": 0.91, "mean_f1_at_0.75": 0.85}

It counts as long as a level has these numbers: what was measured of other ones is not said of it. This module is light,
so that a command's help can quote the bundled model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from ps3d_core.network import BUNDLED
from ps3d_core.quality import LEVELS, LevelName, Quality

Row = Mapping[str, Any]

IOU_LEVELS: Final = (0.5, 0.75)


def level_row(name: LevelName, quality: Quality, f1_by_iou: Mapping[float, float]) -> dict[str, Any]:
    """Return the row of a level, given the mean F1 over scans at each of `IOU_LEVELS`."""
    f1 = {_f1_at(iou): round(f1_by_iou[iou], 3) for iou in IOU_LEVELS}
    return {"quality": name, **level_numbers(quality), "passes": round(quality.passes, 2), **f1}


def rows_of_scans(accuracy: Iterable[Row]) -> list[Row]:
    """Return the rows of scans, and their mean."""
    return [row for row in accuracy if "quality" not in row]


def rows_of_levels(accuracy: Iterable[Row]) -> list[Row]:
    """Return the rows of levels of quality."""
    return [row for row in accuracy if "quality" in row]


def with_level(accuracy: Sequence[Row], row: Row) -> list[Row]:
    """Return `accuracy` with the row of a level in place of an older one of the same name."""
    return [*(each for each in accuracy if each.get("quality") != row["quality"]), row]


def accuracy_text(accuracy: Iterable[Row], quality: Quality) -> str | None:
    """Return what was measured with these numbers, as words; None when nothing was."""
    wanted = level_numbers(quality)
    for row in rows_of_levels(accuracy):
        figures = [row.get(_f1_at(iou)) for iou in IOU_LEVELS]
        if {key: row.get(key) for key in wanted} == wanted and all(isinstance(each, float) for each in figures):
            shown = (f"{f1:.3f} at IoU {iou:g}" for f1, iou in zip(figures, IOU_LEVELS, strict=True))
            return f"F1 {', '.join(shown)}"
    return None


def levels_text(accuracy: Sequence[Row]) -> str:
    """Return cost and, where it was measured, accuracy of every level, in one line."""
    texts = []
    for name, quality in LEVELS.items():
        measured = accuracy_text(accuracy, quality)
        texts.append(f"{name} {quality.passes:.3g} passes{f' ({measured})' if measured else ''}")
    return ", ".join(texts)


def bundled_accuracy() -> list[Row]:
    """Return all rows of the model that comes with the project."""
    record = json.loads((files(__package__) / BUNDLED / "bundle.json").read_text())
    return list(record["accuracy"])


def level_numbers(quality: Quality) -> dict[str, float]:
    """Return the numbers of a quality that its measured accuracy is known by."""
    return {"stride": quality.stride, "sigma": quality.sigma, "mirrorings": len(quality.mirrorings)}


def _f1_at(iou: float) -> str:
    return f"mean_f1_at_{iou:g}"
