"""Lengths and directions that a header states: what they are in mm, and when they are not believed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.store.ome import Spacing

_MM_PER_UNIT: Final = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 1e-3),
    **dict.fromkeys(("micrometre", "micrometres"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
}
_STRAIGHT: Final = 1e-3
"""Cosine below which two axes stand at right angles."""


def spacing_in_mm(
    lengths: Sequence[float] | None, units: str | Sequence[str] | None
) -> tuple[Spacing | None, str | None]:
    """Return the spacing (z, y, x) in mm, and else why what is stated is not believed.

    `lengths` are those of a voxel along x, y, z, NaN where none is stated. `units` are one for all or one for each;
    None where the format means millimetres and cannot say so. Then 1, 1, 1 is what programs write that know nothing.
    """
    if lengths is None or not lengths or all(map(_is_unknown, lengths)):
        return None, None
    if units is None and all(length == 1 for length in lengths):
        return None, None
    stated = f"its spacing {', '.join(f'{length:g}' for length in reversed(lengths))} (z, y, x) is not used"
    if len(lengths) != 3:
        return None, f"{stated}: must be 3 lengths"
    if not all(isfinite(length) and length > 0 for length in lengths):
        return None, f"{stated}: lengths must be above 0"
    names = ["mm"] * 3 if units is None else [units] * 3 if isinstance(units, str) else list(units)
    factors = [_MM_PER_UNIT.get(name.strip().lower()) for name in names]
    if len(names) != 3 or None in factors:
        return None, f"{stated}: unit {', '.join(dict.fromkeys(names)) or 'unknown'!r} is none of length"
    x, y, z = (length * (factor or 0) for length, factor in zip(lengths, factors, strict=True))
    return (z, y, x), None


def origin_in_mm(
    place: Sequence[float] | None, lengths: Sequence[float] | None, spacing: Spacing | None, turned: str | None
) -> Spacing:
    """Return where the first voxel lies (z, y, x), mm: `place` along x, y, z in the unit of the `lengths` of a voxel.

    0 along all axes where that is not said, without a spacing, and for axes that are turned, which stay as stored.
    """
    if place is None or lengths is None or spacing is None or turned is not None or len(place) < len(spacing):
        return 0.0, 0.0, 0.0
    x, y, z = (float(f"{at / own * mm:.12g}") for at, own, mm in zip(place[:3], lengths, spacing[::-1], strict=True))
    return (z, y, x) if all(map(isfinite, (z, y, x))) else (0.0, 0.0, 0.0)


def orientation_note(columns: npt.NDArray[np.floating]) -> str | None:
    """Return a note about axes that do not lie along those of the room, in their order and direction; else None.

    `columns` are the directions of the axes, 3 x 3, of any length.
    """
    if not np.isfinite(columns).all():
        return "its orientation is no rotation and is not applied"
    columns = columns / (np.abs(columns).max() or 1)
    turned = np.abs(columns - np.diag(np.diag(columns))).max() > _STRAIGHT
    if turned or np.linalg.det(columns) < 0:
        return f"its header {'turns' if turned else 'mirrors'} the axes; they are taken as stored"
    return None


def _is_unknown(length: float) -> bool:
    return not isfinite(length)
