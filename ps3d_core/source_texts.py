"""How a person says what of a source is read: a crop, the layout of raw voxels, a value for what is no number.

100:400,,256:            slices 100 to 399, all rows, columns from 256 on
1mm:3.5mm,0.5mm:,        the same in lengths, which need a unit: nm, um or mm
800x512x512,uint16,little,0       voxels of a file without a header: shape (z, y, x), type, byte order, first byte
min, background, 0.0     grey value in the place of NaN
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from ps3d_core.geometry.boxes import Shape

_MM: Final = {"nm": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "mm": 1.0}
_END: Final = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)({'|'.join(_MM)})?")
_SIDES: Final = re.compile(r"(\d{1,9})x(\d{1,9})x(\d{1,9})")
_TYPES: Final = {
    "uint8": "u1",
    "int8": "i1",
    "uint16": "u2",
    "int16": "i2",
    "uint32": "u4",
    "int32": "i4",
    "uint64": "u8",
    "int64": "i8",
    "float32": "f4",
    "float64": "f8",
}
_ORDERS: Final = {"little": "<", "big": ">"}
NAN_WORDS: Final = ("min", "background")


@dataclass(frozen=True, slots=True)
class CropEnd:
    """Where a crop begins or ends along one axis: voxels or mm from the edge of the scan."""

    value: float
    in_mm: bool

    def voxel(self, edge: float | None) -> int:
        """Return the voxel boundary that is nearest; `edge` is that of a voxel in mm, where it is known."""
        if not self.in_mm:
            return int(self.value)
        if edge is None:
            raise ValueError("a crop in lengths needs a spacing")
        return round(min(self.value / edge, 2.0**62))


Crop = tuple[tuple[CropEnd | None, CropEnd | None], ...]
"""Begin and end along z, y, x; None is the edge of the scan."""


def parsed_crop(text: str) -> Crop:
    """Return the crop that a text says. Raise `ValueError` for one that says none."""
    parts = text.split(",")
    if len(parts) != 3:
        raise ValueError("must be Z0:Z1,Y0:Y1,X0:X1, with nothing for all of an axis, like 100:400,,256:")
    return tuple(_span(part.strip()) for part in parts)


def checked_crop(text: str) -> str:
    """Return `text` when it says a crop; raise `ValueError` when it does not."""
    parsed_crop(text)
    return text


def _span(text: str) -> tuple[CropEnd | None, CropEnd | None]:
    if not text:
        return None, None
    first, colon, last = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r}: must be two ends with a colon between them, like 100:400")
    return _end(first), _end(last)


def _end(text: str) -> CropEnd | None:
    if not (text := text.strip()):
        return None
    if (match := _END.fullmatch(text)) is None:
        raise ValueError(f"{text!r}: must be a number of voxels, or a length with its unit, like 1.5mm")
    number, unit = match.groups()
    if unit is None and not number.isdecimal():
        raise ValueError(f"{text!r}: voxels are whole numbers; write a length with its unit, like {text}mm")
    return CropEnd(float(number) * _MM.get(unit, 1.0), unit is not None)


@dataclass(frozen=True, slots=True)
class RawVoxels:
    """Layout of a file of voxels without a header: shape (z, y, x), dtype as NumPy writes it, first byte of the voxels.

    Without an offset the voxels are the whole file.
    """

    shape: Shape
    dtype: str
    offset: int | None


def parsed_raw(text: str) -> RawVoxels:
    """Return the layout that a text says, SHAPE,TYPE[,ENDIAN[,OFFSET]]. Raise `ValueError` for one that says none."""
    shape, *rest = (part.strip() for part in text.split(","))
    kind, order, offset = (*rest, *("", "little", "0")[len(rest) :])[:3] if len(rest) <= 3 else ("", "", "")
    if (sides := _SIDES.fullmatch(shape)) is None or not kind:
        raise ValueError("must be SHAPE,TYPE,ENDIAN,OFFSET, like 800x512x512,uint16,little,0 (shape as ZxYxX)")
    if kind not in _TYPES:
        raise ValueError(f"type {kind!r}: must be one of {', '.join(_TYPES)}")
    if order not in _ORDERS:
        raise ValueError(f"byte order {order!r}: must be little or big")
    if not (offset.isdecimal() and len(offset) < 16):
        raise ValueError(f"offset {offset!r}: must be the number of bytes before the voxels")
    z, y, x = map(int, sides.groups())
    return RawVoxels((z, y, x), _ORDERS[order] + _TYPES[kind], int(offset) if len(rest) == 3 else None)


def checked_raw(text: str) -> str:
    """Return `text` when it says a layout; raise `ValueError` when it does not."""
    parsed_raw(text)
    return text


def parsed_nan(text: str) -> float | str:
    """Return the number or word that a text says. Raise `ValueError` for one that says none."""
    if text in NAN_WORDS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ValueError(f"must be a number or one of {', '.join(NAN_WORDS)}")
    return value


def number_as_text(value: Any) -> Any:
    """Return a number as its text, as programs and JSON give it, and anything else as it is."""
    return f"{value!r}" if isinstance(value, float | int) and not isinstance(value, bool) else value


def checked_nan(text: str) -> str:
    """Return `text` when it says a value for what is no number; raise `ValueError` when it does not."""
    parsed_nan(text)
    return text
