"""How a person says which part of a scan is segmented: auto, none, a cylinder, or the place of a mask.

    cylinder:Y,X,RADIUS              along z, voxels of the scan
    cylinder:Y0,X0,Y1,X1,RADIUS      its axis goes from (Y0, X0) in the first slice to (Y1, X1) in the last
    cylinder:...mm                   the same in mm, as positions in the particle table are

What it means for a scan is worked out in `ps3d_core.region`.
"""

from __future__ import annotations

import os
import re
from typing import Final

AUTO: Final = "auto"
NONE: Final = "none"
CYLINDER: Final = "cylinder:"
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_SAID: Final = re.compile(rf"{CYLINDER}({_NUMBER}(?:,{_NUMBER}){{2}}(?:(?:,{_NUMBER}){{2}})?)(?:mm)?")


def is_named(roi: str) -> bool:
    """Return whether a text says a region by itself, and does not name a mask."""
    return roi in (AUTO, NONE) or roi.startswith(CYLINDER)


def is_looked_for(roi: str) -> bool:
    """Return whether the scan, or a mask, has to be read to know the region."""
    return roi == AUTO or not is_named(roi)


def checked_roi(roi: str) -> str:
    """Return `roi`, the path of a mask made absolute. Raise `ValueError` for a cylinder that is none."""
    if roi.startswith(CYLINDER):
        *_, radius = cylinder_numbers(roi)
        if not 0 < radius < 1e7:
            raise ValueError(f"radius {radius:g}; must be above 0 and below 10 million")
    return roi if is_named(roi) or "://" in roi else os.path.abspath(roi)


def cylinder_numbers(roi: str) -> list[float]:
    """Return the numbers of a cylinder, (y, x, radius) or (y, x, y, x, radius), in the unit it is said in."""
    if (match := _SAID.fullmatch(roi)) is None:
        raise ValueError("give cylinder:Y,X,RADIUS or cylinder:Y0,X0,Y1,X1,RADIUS in voxels, or with mm at its end")
    return [float(number) for number in match[1].split(",")]
