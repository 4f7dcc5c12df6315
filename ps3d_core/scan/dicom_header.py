"""The header of one DICOM file: what a slice is, where it lies in space, and where in the file its pixels are.

pydicom reads it, and of it only the elements that are asked for: no name, date or number of a patient is ever held. A
header is what stands before the pixels; it is read from the first bytes of a file, and from the file itself where it is
longer.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from threading import Lock
from typing import Any, BinaryIO, Final

import numpy as np

from ps3d_core.errors import InputError, StoreError
from ps3d_core.geometry.boxes import shape_text

# What pydicom is unsure of it logs and warns of, in words that name no file.
logging.getLogger("pydicom").addHandler(logging.NullHandler())

PREAMBLE: Final = 132
"""Bytes at the start of a DICOM file; the last four are `DICM`."""
START: Final = 2**16
"""Bytes at the start of a file that hold most headers."""
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_UNPACKED: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_UNDEFINED: Final = 0xFFFFFFFF
_FLOATS: Final[dict[int, np.dtype[Any]]] = {0x7FE00008: np.dtype(np.float32), 0x7FE00009: np.dtype(np.float64)}
_NO_PICTURES: Final = ("SR", "RTSTRUCT", "RTPLAN", "RTRECORD", "PR", "KO", "REG", "FID", "DOC", "PLAN")
"""Kinds of files (Modality) that lie among slices and hold none."""
_WANTED: Final = (
    "SpecificCharacterSet",
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""Elements that are read; none is about a patient."""
_ELEMENT: Final = 12
"""Bytes of an element before its value, at most."""
_LOCK: Final = Lock()
"""Of the filters for warnings, which a whole process has in common."""


@dataclass(frozen=True, slots=True)
class DicomKind:
    """Properties that all slices of one scan have in common.

    Attributes:
        shape: rows and columns.
        stored: dtype of a pixel in the file, native byte order.
        bits: of a pixel that belong to its value; the rest is not.
        white_is_zero: True when 0 is shown as white (MONOCHROME1).

    """

    shape: tuple[int, int]
    stored: np.dtype[Any]
    bits: int
    white_is_zero: bool

    def __str__(self) -> str:
        odd = [f"of {self.bits} bits" if self.bits < 8 * self.stored.itemsize else "", "MONOCHROME1"]
        return ", ".join([f"{shape_text(self.shape)} {self.stored}", *filter(None, odd[: 1 + self.white_is_zero])])


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a frame: its corner in mm, and the directions of its rows and columns; None where it is not said."""

    corner: tuple[float, ...] | None
    directions: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """What a file says of its frames, of which most have one.

    Attributes:
        name: of the file.
        kind: of all frames.
        series: UID, number and description of the series.
        number: that counts the files of a series.
        places: of the frames.
        scalings: slope and intercept of the grey values of the frames.
        pixel: edges (y, x) of a pixel in mm as they are said, also where they are no lengths; None where they are not.
        between: mm between slices, where that is said.
        says_detector: True where the only size of a pixel is that on the detector.
        was_lossy: True where it says that its values were once packed with loss.
        has_lut: True where grey values have a table that is not applied.
        syntax: UID of how the pixels are packed; None when they are not.
        is_little: byte order.
        start: first byte of the pixels, or of the table of their packed frames.

    """

    name: str
    kind: DicomKind
    series: tuple[str, str, str]
    number: int | None
    places: tuple[Place, ...]
    scalings: tuple[tuple[float, float], ...]
    pixel: tuple[float, float] | None
    between: float | None
    says_detector: bool
    was_lossy: bool
    has_lut: bool
    syntax: str | None
    is_little: bool
    start: int


def read_header(head: bytes, reopened: Callable[[], BinaryIO], name: str, size: int) -> DicomHeader | None:
    """Return the header of a file of `size` bytes that begins with `head`; `reopened` opens it where that is too short.

    None for a file that holds no pictures, by its own word. Raise `InputError` for what is no usable slice.
    """
    if head[PREAMBLE - 4 : PREAMBLE] != b"DICM":
        raise InputError(f"{name}: not a DICOM file; move it elsewhere, restore it or export it again")
    if _DEFLATED in head[: 2**12]:
        raise InputError(f"{name}: deflated as a whole; export it without compression")
    try:
        with _quiet():
            dataset, element, at = _parsed(io.BytesIO(head)) if len(head) >= size else _parsed_start(head, reopened)
            return _header(dataset, element, at, name, size)
    except (InputError, StoreError):
        raise
    except Exception as error:  # of a damaged file pydicom raises almost anything
        raise _damaged(name, error) from error


def _parsed_start(head: bytes, reopened: Callable[[], BinaryIO]) -> tuple[Any, bytes, int]:
    """Return what `_parsed` does, from the start of a file where that holds the whole header."""
    with suppress(Exception):  # whatever pydicom makes of a header that is cut off
        dataset, element, at = _parsed(io.BytesIO(head))
        if len(element) == _ELEMENT:
            return dataset, element, at
    with reopened() as file:
        return _parsed(file)


def _parsed(file: BinaryIO) -> tuple[Any, bytes, int]:
    """Return the elements before the pixels, the beginning of that of the pixels, and where that begins."""
    from pydicom import dcmread

    dataset = dcmread(file, stop_before_pixels=True, specific_tags=list(_WANTED))
    at = file.tell()
    return dataset, file.read(_ELEMENT), at


@contextmanager
def _quiet() -> Iterator[None]:
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _damaged(name: str, error: Exception) -> InputError:
    reason = type(error).__name__
    return InputError(f"{name}: damaged DICOM header ({reason}); restore the file or export it again")


def _header(dataset: Any, element: bytes, at: int, name: str, size: int) -> DicomHeader | None:
    is_little, syntax = _packing(dataset, name)
    order = "<" if is_little else ">"
    group, tag = struct.unpack(f"{order}HH", element[:4]) if len(element) >= 8 else (0, 0)
    if group != 0x7FE0:
        if str(dataset.get("Modality", "")) in _NO_PICTURES and dataset.get("Rows") is None:
            return None
        raise InputError(f"{name}: truncated, {size} bytes without pixels; restore the file or export it again")
    is_implicit = dataset.original_encoding[0]
    start = at + (8 if is_implicit else 12)
    (length,) = struct.unpack(f"{order}I", element[4:8] if is_implicit else element[8:12])
    kind = _kind(dataset, _FLOATS.get(group << 16 | tag), name)
    if not is_little and kind.stored.itemsize == 1 and element[4:6] == b"OW":
        raise InputError(f"{name}: pixels of 8 bits in words of 16, the higher byte first; export it as little-endian")
    frames = _whole(dataset, "NumberOfFrames", 1)
    _check_pixels(kind, frames, length, start, is_packed=syntax is not None, name=name, size=size)
    shared = _first(dataset.get("SharedFunctionalGroupsSequence"))
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if groups and len(groups) != frames:
        raise InputError(f"{name}: {frames} frames, described are {len(groups)}; restore the file or export it again")
    each = [(_Groups(dataset, shared, group)) for group in groups or [None] * frames]
    pixels = {each_one.numbers("PixelMeasuresSequence", "PixelSpacing", 2) for each_one in each}
    pixel = pixels.pop() if len(pixels) == 1 else None
    between = each[0].numbers("PixelMeasuresSequence", "SpacingBetweenSlices", 1)
    return DicomHeader(
        name=name,
        kind=kind,
        series=tuple(_text(dataset, key) for key in ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription")),  # type: ignore[arg-type]
        number=_whole(dataset, "InstanceNumber", None),
        places=tuple(one.place() for one in each),
        scalings=tuple(one.scaling(name) for one in each),
        pixel=(pixel[0], pixel[1]) if pixel else None,
        between=between[0] if between and between[0] > 0 else None,
        says_detector=pixel is None and dataset.get("ImagerPixelSpacing") is not None,
        was_lossy=_text(dataset, "LossyImageCompression") == "01",
        has_lut=dataset.get("ModalityLUTSequence") is not None,
        syntax=syntax,
        is_little=is_little,
        start=start,
    )


class _Groups:
    """The elements of one frame, which stand in its own group, in one for all frames, or in the file itself."""

    def __init__(self, dataset: Any, shared: Any, own: Any) -> None:
        self._dataset, self._groups = dataset, [group for group in (own, shared) if group is not None]

    def numbers(self, sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the numbers of an element; None where it is absent, or no such numbers."""
        for place in (*(_first(group.get(sequence)) for group in self._groups), self._dataset):
            if place is not None and place.get(keyword) is not None:
                return _numbers(place.get(keyword), count)
        return None

    def place(self) -> Place:
        """Return where the frame lies."""
        return Place(
            self.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
            self.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        )

    def scaling(self, name: str) -> tuple[float, float]:
        """Return slope and intercept of the grey values."""
        scaling = []
        for keyword, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
            sequence = "PixelValueTransformationSequence"
            said = any(
                place is not None and place.get(keyword) is not None
                for place in (*(_first(group.get(sequence)) for group in self._groups), self._dataset)
            )
            value = self.numbers(sequence, keyword, 1) if said else (usual,)
            if value is None or (keyword == "RescaleSlope" and value[0] == 0):
                raise InputError(f"{name}: {keyword} is no usable number; correct it or export the slices again")
            scaling.append(value[0])
        return scaling[0], scaling[1]


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(each) for each in ([value] if count == 1 else value))
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(map(isfinite, values)) else None


def _text(dataset: Any, keyword: str) -> str:
    return "".join(letter for letter in str(dataset.get(keyword, "") or "") if letter.isprintable()).strip()[:80]


def _whole(dataset: Any, keyword: str, usual: Any) -> Any:
    value = dataset.get(keyword)
    return usual if value is None else int(value)


def _packing(dataset: Any, name: str) -> tuple[bool, str | None]:
    """Return whether bytes are in little order, and the UID of how pixels are packed; None where they are not."""
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    if not syntax:
        raise InputError(f"{name}: does not say how its pixels are stored (transfer syntax); export it again")
    return syntax != _UNPACKED[2], None if syntax in _UNPACKED else syntax


def _kind(dataset: Any, floats: np.dtype[Any] | None, name: str) -> DicomKind:
    photometric = _text(dataset, "PhotometricInterpretation")
    samples = _whole(dataset, "SamplesPerPixel", 1)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"{name}: {photometric[:20]}, {samples} values per pixel; must be 1 grey value; convert it")
    rows, columns, allocated = (_whole(dataset, key, 0) for key in ("Rows", "Columns", "BitsAllocated"))
    if rows < 1 or columns < 1:
        raise InputError(f"{name}: a picture of {rows} x {columns}; restore the file or export it again")
    shape, white = (rows, columns), photometric == "MONOCHROME1"
    if floats is not None:
        return DicomKind(shape, floats, 8 * floats.itemsize, white)
    stored, signed = _whole(dataset, "BitsStored", allocated), _whole(dataset, "PixelRepresentation", 0)
    if allocated not in (8, 16, 32) or not 2 <= stored <= allocated or signed not in (0, 1):
        raise InputError(f"{name}: {stored} of {allocated} bits per pixel; must be 8, 16 or 32; export it as such")
    if (high := _whole(dataset, "HighBit", stored - 1)) != stored - 1:
        raise InputError(f"{name}: values end at bit {high} of {stored}; must be the lowest bits; export it again")
    return DicomKind(shape, np.dtype(f"{'i' if signed else 'u'}{allocated // 8}"), stored, white)


def _check_pixels(
    kind: DicomKind, frames: int, length: int, start: int, *, is_packed: bool, name: str, size: int
) -> None:
    """Raise `InputError` unless as many pixels as are promised can be in the file."""
    expected = frames * kind.shape[0] * kind.shape[1] * kind.stored.itemsize
    if frames < 1 or (length == _UNDEFINED) != is_packed:
        raise InputError(f"{name}: pixels not stored as it says; restore the file or export it again")
    if is_packed and start < size and frames <= size:
        return
    if is_packed or start + expected > size or length < expected:
        raise InputError(
            f"{name}: truncated, {size} bytes do not hold {frames} x {kind}; restore the file or export it again"
        )
    if length > expected + 1:  # one byte may be there to make the length even
        raise InputError(f"{name}: {length} bytes of pixels for {frames} x {kind}; restore the file or export it again")
