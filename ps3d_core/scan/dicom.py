"""A series of DICOM files as one volume: slices in the order in which they lie in space.

Names and numbers of the files say little: slices are sorted by their positions, projected onto the normal of their
planes, and have to lie at even distances. That distance is the spacing along z; the thickness of a slice is another
thing and not used. Only where no positions are said, the numbers of the files (InstanceNumber) give the order.

Grey values are those that the header scales to: integers stay integers when they are only shifted (as Hounsfield units
are, by -1024), in the smallest type that holds them; with a slope they become float32.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.companions import is_without_ending
from ps3d_core.scan.dicom_header import PREAMBLE, START, DicomHeader, read_header
from ps3d_core.scan.dicom_pixels import Fragments, frames_of, packing_note, read_frame
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape
from ps3d_core.scan.slices import LOCAL_WORKERS, REMOTE_WORKERS
from ps3d_core.scan.suffixes import DICOM_SUFFIXES
from ps3d_core.store.location import Location

_SAME_PLANE: Final = 1e-3
"""Difference of directions of slices that are parallel."""
_EVEN: Final = 0.1
"""Share by which distances between slices may differ: positions are written with few digits."""
_INTEGERS: Final = ("int16", "uint16", "int32", "uint32")
_NAMED: Final = 6
_UNKNOWN: Final = 2**62
"""Size of a file elsewhere, which would cost a request."""


class DicomSeries(ScanReader):
    """The slices of one series among the DICOM files `names` of `folder`."""

    suffixes = DICOM_SUFFIXES
    takes = frozenset({"series"})

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether a file is at `location` that is DICOM by its name, or has no ending and says so itself."""
        return children is None and (super().reads(location, children) or is_dicom(location))

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open the slices of one file."""
        return cls(location.parent, [location.name], params)

    def __init__(self, folder: Location, names: Sequence[str], params: SourceParams) -> None:
        self._folder = folder
        is_remote = folder.local_path is None
        self._threads = ThreadPoolExecutor(REMOTE_WORKERS if is_remote else LOCAL_WORKERS, "slices")
        try:
            self._headers, self.notes = _one_series(_all_headers(folder, names, self._threads), folder, params.series)
            self._open(params)
        except BaseException:
            self.close()
            raise

    def _open(self, params: SourceParams) -> None:
        like = self._headers[0]
        for header in self._headers:
            if header.kind != like.kind:
                raise InputError(
                    f"{header.name}: {header.kind}; must be {like.kind} like {like.name}; remove it or export all "
                    "slices alike"
                )
        stack = _stack(self._headers, str(self._folder), allow_gaps=params.allow_gaps)
        self._frames = stack.frames
        self.shape = scan_shape((len(self._frames), *like.kind.shape), str(self._folder))
        self._packed = [self._frames_of(header) for header in self._headers]
        self._scalings = [self._headers[file].scalings[number] for file, number in self._frames]
        self.dtype, self._is_shifted = _scaled_dtype(self._scalings, like, like.name)
        self.spacing, self.spacing_doubt = _spacing(self._headers, stack.distance)
        self.notes += tuple(filter(None, (*stack.notes, *self._said(), self.spacing_doubt)))
        uid, number, description = like.series
        about = f"DICOM series {number or uid}" + (f" ({description})" if description else "")
        self.description = f"{about} of {self.shape[0]} slices"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)

        def load(index: int) -> None:
            file_index, number = self._frames[index]
            header = self._headers[file_index]
            with self._opened(header) as file:
                values = read_frame(file, header, number, self._packed[file_index])
            slope, offset = self._scalings[index]
            if self.dtype == values.dtype and (slope, offset) == (1, 0):
                slab[index - start] = values
            elif self._is_shifted:
                slab[index - start] = values.astype(np.int64) + int(offset)
            else:
                slab[index - start] = values * np.float64(slope) + offset

        list(self._threads.map(load, range(start, stop)))
        return slab

    def close(self) -> None:  # noqa: D102
        self._threads.shutdown(cancel_futures=True)

    def _said(self) -> Iterator[str | None]:
        like = self._headers[0]
        yield packing_note(like.syntax)
        if any(header.was_lossy for header in self._headers):
            yield "its slices say that they were once packed with loss: grey values are near those of the scanner"
        if like.kind.white_is_zero:
            yield "0 is shown as white (MONOCHROME1); values are taken as stored, so what looks bright is low"
        if any(header.has_lut for header in self._headers):
            yield "its table of grey values (Modality LUT) is not applied"
        scalings = set(self._scalings)
        if scalings == {(1.0, 0.0)}:
            return
        if len(scalings) > 1:
            yield f"values are scaled from slice to slice, in {len(scalings)} ways: kept as {self.dtype}"
            return
        slope, offset = self._scalings[0]
        yield f"values are stored in units of {slope:g} above {offset:g}: kept as {self.dtype}"

    def _frames_of(self, header: DicomHeader) -> tuple[Fragments, ...]:
        if header.syntax is None:
            return ()
        with open_to_read(Location(header.name)) as file:
            return frames_of(file, header)

    @contextmanager
    def _opened(self, header: DicomHeader) -> Iterator[BinaryIO]:
        location = Location(header.name)
        whole = location.local_path is None and len(header.places) == 1
        with io.BytesIO(location.read_bytes()) if whole else open_to_read(location) as file:
            yield file


def dicom_series(folder: Location, names: Sequence[str]) -> dict[str, int]:
    """Return how many files each series among DICOM files has, by what chooses it.

    Raise `InputError` for what is no usable file.
    """
    with ThreadPoolExecutor(REMOTE_WORKERS, "slices") as threads:
        series, _ = _by_series(_all_headers(folder, names, threads))
    return {_choice(known, series): len(headers) for known, headers in series.items()}


def is_dicom(location: Location) -> bool:
    """Return whether a file without an ending says that it is DICOM. Raise nothing."""
    if not is_without_ending(location.name):
        return False
    try:
        return location.read_start(PREAMBLE)[PREAMBLE - 4 :] == b"DICM"
    except (OSError, InputError):
        return False


def _all_headers(folder: Location, names: Sequence[str], threads: ThreadPoolExecutor) -> Iterator[DicomHeader | None]:
    """Yield the headers of files; None for those that hold no pictures."""
    for at in range(0, len(names), REMOTE_WORKERS):
        some = [folder / name for name in names[at : at + REMOTE_WORKERS]]
        for location, (head, size) in zip(some, threads.map(_start, some), strict=True):
            yield read_header(head, partial(open_to_read, location), str(location), size)


def _start(location: Location) -> tuple[bytes, int]:
    if location.local_path is None:  # one request; what is missing is noticed when it is read
        head = location.read_start(START)
        return head, len(head) if len(head) < START else _UNKNOWN
    with open_to_read(location) as file:
        return file.read(START), size_of(file)


def _one_series(
    read: Iterable[DicomHeader | None], folder: Location, wanted: str | None
) -> tuple[list[DicomHeader], tuple[str, ...]]:
    """Return the headers of one series, and what is to be said of the files."""
    series, without = _by_series(read)
    notes = (f"{without} DICOM files without pictures are not read",) if without else ()
    if not series:
        raise InputError(f"{folder}: DICOM files without pictures; give the folder that holds the slices")
    chosen = [known for known in series if wanted is None or _is_called(known, wanted)]
    if len(chosen) == 1:
        return series[chosen[0]], notes
    named = [f"{_called(known)} of {len(headers)} files" for known, headers in series.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    problem = f"{folder}: {len(series)} DICOM series: {', '.join(named[:_NAMED])}{more}"
    if not chosen:
        raise InputError(f"{problem}; none is called {wanted!r}", "correct <series>: a number, description or UID")
    largest = max(chosen, key=lambda known: len(series[known]))
    raise InputError(problem, f'choose one with <series> "{_choice(largest, series)}"', "move the others elsewhere")


def _by_series(
    read: Iterable[DicomHeader | None],
) -> tuple[dict[tuple[str, str, str], list[DicomHeader]], int]:
    """Return headers by the UID, number and description of their series, and how many files hold no pictures."""
    series: dict[tuple[str, str, str], list[DicomHeader]] = {}
    uids: dict[str, tuple[str, str, str]] = {}
    without = 0
    for header in read:
        if header is None:
            without += 1
        else:
            series.setdefault(uids.setdefault(header.series[0], header.series), []).append(header)
    return series, without


def _is_called(series: tuple[str, str, str], wanted: str) -> bool:
    return wanted.casefold() in {text.casefold() for text in series if text}


def _called(series: tuple[str, str, str]) -> str:
    uid, number, description = series
    return " ".join(filter(None, (number or uid, f"({description})" if description else "")))


def _choice(series: tuple[str, str, str], among: Collection[tuple[str, str, str]]) -> str:
    """Return the shortest name of a series that no other has."""
    uid, number, description = series
    for text in (number, description):
        if text and sum(_is_called(other, text) for other in among) == 1:
            return text
    return uid


@dataclass(frozen=True, slots=True)
class _Stack:
    """Order of the slices (file, frame), the distance between them in mm, and what is to be said of it."""

    frames: list[tuple[int, int]]
    distance: float | None
    notes: tuple[str | None, ...] = ()


def _stack(headers: Sequence[DicomHeader], folder: str, *, allow_gaps: bool) -> _Stack:
    frames = [(file, number) for file, header in enumerate(headers) for number in range(len(header.places))]
    places = [headers[file].places[number] for file, number in frames]
    corners = [place.corner for place in places]
    said = [place.corner is not None and place.directions is not None for place in places]
    if any(said) and not all(said):
        name = headers[frames[said.index(False)][0]].name
        raise InputError(f"{name}: does not say where it lies, others do; restore it or export all slices again")
    if not all(said) or len(set(corners)) == 1:
        return _by_number(headers, frames, folder, allow_gaps=allow_gaps)
    directions = np.array([place.directions for place in places])
    turned = np.abs(directions - directions[0]).max(axis=1)
    if turned.max() > _SAME_PLANE:
        name = headers[frames[int(turned.argmax())][0]].name
        raise InputError(f"{name}: turned against {headers[0].name}; slices must be parallel; remove it, or export all")
    row, column = directions[0, :3], directions[0, 3:]
    normal = np.cross(row, column)
    if not (abs(np.linalg.norm(normal) - 1) < _SAME_PLANE and abs(row @ column) < _SAME_PLANE):
        raise InputError(f"{headers[0].name}: rows and columns not at right angles; export the slices again")
    along = np.array(corners) @ normal
    order = np.argsort(along, kind="stable")
    sideways = np.abs((np.array(corners) - np.outer(along, normal)) - (corners[0] - along[0] * normal)).max()
    names = [headers[frames[index][0]].name for index in order]
    distance, gap = _distance(along[order], names, folder, allow_gaps=allow_gaps)
    is_turned = not np.allclose(directions[0], (1, 0, 0, 0, 1, 0), atol=_SAME_PLANE)
    return _Stack(
        [frames[index] for index in order],
        distance,
        (
            "its header turns or mirrors the axes; they are taken as stored" if is_turned else None,
            "its slices are shifted sideways against each other, which is not corrected"
            if distance and sideways > _EVEN * distance
            else None,
            gap,
        ),
    )


def _distance(
    along: npt.NDArray[np.float64], names: Sequence[str], folder: str, *, allow_gaps: bool
) -> tuple[float | None, str | None]:
    """Return the distance between slices at these positions in order, and a note where some are missing."""
    steps = np.diff(along)
    if not len(steps):
        return None, None
    usual = median(steps)
    if steps.min() <= max(usual, 0) * _EVEN:
        at = int(steps.argmin())
        raise InputError(
            f"{folder}: {_short(names[at])} and {_short(names[at + 1])} lie at the same position; remove one of them"
        )
    at = int(np.abs(steps - usual).argmax())
    if abs(steps[at] - usual) <= _EVEN * usual:
        return float((along[-1] - along[0]) / len(steps)), None
    if not allow_gaps:
        what = "slices are missing" if steps[at] > 1.5 * usual else "uneven distances"
        raise InputError(
            f"{folder}: {what}, {steps[at]:.6g} mm from {_short(names[at])} to {_short(names[at + 1])}, else "
            f"{usual:.6g} mm",
            "restore them",
            "accept that with <allow_gaps>",
        )
    note = f"its slices lie at uneven distances, {steps.min():.6g} to {steps.max():.6g} mm; {usual:.6g} is used for all"
    return float(usual), note


def _by_number(
    headers: Sequence[DicomHeader], frames: Sequence[tuple[int, int]], folder: str, *, allow_gaps: bool
) -> _Stack:
    """Slices without positions, by the number of their files."""
    if len(headers) == 1:
        return _Stack(list(frames), headers[0].between)
    numbers = [header.number for header in headers]
    if None in numbers:
        name = headers[numbers.index(None)].name
        raise InputError(f"{name}: neither a position nor a number, so its place is unknown; export the slices again")
    order = sorted(range(len(headers)), key=lambda file: headers[file].number or 0)
    rank = {file: index for index, file in enumerate(order)}
    for before, after in pairwise(order):
        first, second = headers[before], headers[after]
        step = (second.number or 0) - (first.number or 0)
        if step == 0:
            raise InputError(
                f"{folder}: {_short(first.name)} and {_short(second.name)} have the same number {first.number}; remove "
                "one of them"
            )
        if step > 1 and not allow_gaps:
            raise InputError(
                f"{folder}: slice {(first.number or 0) + 1} is missing between {_short(first.name)} and "
                f"{_short(second.name)}",
                "restore it",
                "accept that with <allow_gaps>",
            )
    between = {header.between for header in headers}
    is_said = headers[0].places[0].corner is not None
    what = "all say the same position" if is_said else "say no positions"
    note = f"its slices {what}; they are in the order of their numbers (InstanceNumber)"
    sorted_frames = sorted(frames, key=lambda frame: (rank[frame[0]], frame[1]))
    return _Stack(sorted_frames, between.pop() if len(between) == 1 else None, (note,))


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _spacing(
    headers: Sequence[DicomHeader], distance: float | None
) -> tuple[tuple[float, float, float] | None, str | None]:
    pixels = {header.pixel for header in headers}
    pixel = headers[0].pixel
    if len(pixels) > 1:
        return None, "its slices say pixels of different sizes"
    if pixel is None and headers[0].says_detector:
        return None, "it says the size of a pixel on the detector only, not in the scan"
    if pixel is None:
        return None, None
    if min(pixel) <= 0:
        return None, f"its pixels of {pixel[0]:g} x {pixel[1]:g} mm are not used: lengths must be above 0"
    if distance is None:
        return None, f"it says pixels of {pixel[0]:g} x {pixel[1]:g} mm, and not how far apart its slices are"
    y, x = pixel
    return (_decimal(distance), _decimal(y), _decimal(x)), None


def _decimal(length: float) -> float:
    return float(f"{length:.7g}")  # of sums and differences of decimals


def _scaled_dtype(scalings: Sequence[tuple[float, float]], like: DicomHeader, name: str) -> tuple[np.dtype[Any], bool]:
    """Return the type of scaled values, and whether they are integers that are only shifted."""
    stored, different = scan_dtype(like.kind.stored, name), set(scalings)
    if different == {(1.0, 0.0)}:
        return stored, False
    slope, offset = scalings[0]
    if len(different) == 1 and slope == 1 and offset.is_integer() and stored.kind in "iu":
        least = -(2 ** (like.kind.bits - 1)) if stored.kind == "i" else 0
        low, high = least + int(offset), least + 2**like.kind.bits - 1 + int(offset)
        for dtype in (stored, *map(np.dtype, _INTEGERS)):
            limits = np.iinfo(dtype)
            if limits.min <= low and high <= limits.max:
                return dtype, True
    return np.result_type(stored, np.float32), False
