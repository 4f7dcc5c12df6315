"""Lengths as people write them: a number of mm, or one with its unit, like 12.5um.

A number without a unit is mm. The edge of a voxel that no scanner has must be written with its unit: who writes it so
means it, and who forgot it learns that it is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from math import inf
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import Spacing

_LENGTH: Final = re.compile(r"(?P<number>[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?)\s*(?P<unit>[a-zµμ]*)")
_COMMA: Final = re.compile(r"[0-9]+,[0-9]+ *[a-zµμ]*")
_UM: Final = Decimal("1e-3")
_SMALLEST_UNIT: Final = Decimal("1e-6")
_MM_PER_UNIT: Final = {  # two ways to write the Greek letter
    "": Decimal(1),
    "nm": _SMALLEST_UNIT,
    "um": _UM,
    "µm": _UM,
    "μm": _UM,
    "mm": Decimal(1),
}
_SMALLEST_BARE, _LARGEST_BARE, _IMPOSSIBLE = 1e-4, 1.0, 1000.0  # mm
_MOST_STRETCHED: Final = 20  # longest edge of a voxel to its shortest


def length_mm(text: str) -> float:
    """Return a length in mm, which must be positive. Raise `InputError` when the text is none."""
    number, unit = _length(text)
    return float(number * _MM_PER_UNIT[unit])


def has_unit(text: str) -> bool:
    """Return whether a length is written with its unit. Raise `InputError` when the text is no length."""
    return bool(_length(text)[1])


def edges_mm(texts: Sequence[str]) -> list[float]:
    """Return the edges of one voxel in mm, in the order given.

    A number without a unit is mm. Where only some have one, the others are in mm or in that, whichever makes a voxel of
    it; and where none has one, a voxel larger or smaller than any scanner's must be written with its unit. Raise
    `InputError` when the texts are no edges of a voxel.
    """
    units = {unit for _, unit in map(_length, texts)}
    readings = [_in_mm(texts, bare) for bare in (*sorted(units - {""}), "mm")]
    if units == {""}:
        for text, side in zip(texts, readings[0], strict=True):
            if (doubt := doubt_of_bare_edge(text.strip(), side)) is not None:
                raise InputError(f"{text.strip()}: {doubt}")
    for sides in readings:
        if len(units) == 1 or max(sides) <= _MOST_STRETCHED * min(sides):
            return sides
    raise InputError(f"{','.join(texts)}: lengths in different units that make no voxel; write one unit")


def voxel_edges_mm(text: str) -> Spacing:
    """Return the edges of a voxel (z, y, x) in mm from one length for all, or three with commas between them.

    Raise `InputError` when the text is neither.
    """
    sides = text.split(",")
    if len(sides) not in (1, 3):
        hint = _comma_hint(text).replace(",", ";", 1)
        raise InputError(f"{text}: must be one length or three; give z,y,x, like 0.02,0.01,0.01{hint}")
    z, y, x = edges_mm(sides) * (1 if len(sides) == 3 else 3)
    return z, y, x


def doubt_of_bare_edge(text: str, side: float) -> str | None:
    """Return why `side` mm, written as `text` without a unit, is hardly the edge of a voxel; None where it may be."""
    if side >= _IMPOSSIBLE:
        return f"must be below {_IMPOSSIBLE:g} mm; is {text}um meant?"
    if not _SMALLEST_BARE <= side <= _LARGEST_BARE:
        meant = f"{text}um" if side > 1 else f"{side * 1e6:g}um"  # micrometres, or metres
        return f"a voxel of {text} mm; is {meant} meant? write the unit: {meant} or {text}mm"
    return None


def _comma_hint(text: str) -> str:
    """Return an addition for somebody who wrote a comma for the decimal point, else an empty text."""
    return f", decimals are written {text.replace(',', '.')}" if _COMMA.fullmatch(text.strip()) else ""


def _in_mm(texts: Sequence[str], bare: str) -> list[float]:
    # In decimals: 12.5um is exactly what 0.0125 is.
    return [float(number * _MM_PER_UNIT[unit or bare]) for number, unit in map(_length, texts)]


def _length(text: str) -> tuple[Decimal, str]:
    part = _LENGTH.fullmatch(text.strip())
    number = Decimal(part["number"]) if part else Decimal(0)
    if part is None or part["unit"] not in _MM_PER_UNIT or not 0 < float(number * _SMALLEST_UNIT) < inf:
        raise InputError(f"{text}: must be a length in mm above 0; give one like 0.0125 or 12.5um{_comma_hint(text)}")
    return number, part["unit"]
