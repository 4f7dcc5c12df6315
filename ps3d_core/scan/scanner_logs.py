"""The edges of a voxel as the log of a scanner says them, which lies beside the slices.

    SkyScan, Bruker     NAME_rec.log     [Reconstruction] Pixel Size (um); the step from section to section
    phoenix, GE         NAME.pcr         [VolumeData] VoxelSizeRec, mm
                        NAME.pca         [Geometry] VoxelSizeX, mm: of the projections
    Nikon, X-Tek        NAME.xtekct      [XTekCT] VoxelSizeX, VoxelSizeY, VoxelSizeZ, mm

Slices are resampled, binned and cut, and their log stays beside them. So what it says is believed only where it says,
too, how large its slices are, and these are so large. What a log says of the projections is that of the volume only
where this was not binned: it is believed of slices as wide as the detector, and else told as a doubt. Logs are texts of
strangers in any encoding: no more than their first megabyte is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import permutations
from math import isfinite
from pathlib import PurePosixPath
from typing import Final

from ps3d_core.errors import InputError, StoreError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import same_spacing
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.spacing import SAME, spacing_text
from ps3d_core.scan.suffixes import LOG_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_MOST_BYTES: Final = 2**20
_MOST_LOGS: Final = 16
_LONGEST: Final = 64
"""Characters of a number; on longer ones the expression takes long."""
_NUMBER: Final = re.compile(r"[0-9]*[.,]?[0-9]+(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Logged:
    """What logs say of a scan.

    Attributes:
        spacing: mm per voxel (z, y, x), where it is beyond doubt.
        quoted: the name of the log and what it says.
        doubt: why what is said is not believed; None where nothing is said.

    """

    spacing: Spacing | None = None
    quoted: str | None = None
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one log says; `is_volume` is False where it speaks of projections."""

    edges: Spacing | None
    quoted: str
    is_volume: bool = True
    doubt: str | None = None


class _Log:
    """A log as sections of keys and values, all in lower case but the values; an entry that is there twice is two."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._entries: dict[tuple[str, str], list[tuple[str, str]]] = {}
        section = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("[") and "]" in line:
                section = line[1 : line.index("]")].strip().casefold()
            elif "=" in line:
                key, value = (part.strip() for part in line.split("=", 1))
                self._entries.setdefault((section, key.casefold()), []).append((key, value))

    def has(self, section: str) -> bool:
        """Return whether there is anything in a section."""
        return any(there == section for there, _ in self._entries)

    def text(self, section: str, key: str) -> str | None:
        """Return the value of a key; None where there is none, or where it is there twice and not the same."""
        values = {value for _, value in self._entries.get((section, key), [])}
        return values.pop() if len(values) == 1 else None

    def states(self, section: str, key: str) -> bool:
        """Return whether a key is there, with whatever value."""
        return any(value for _, value in self._entries.get((section, key), []))

    def unusable(self, section: str, *keys: str) -> str | None:
        """Return a doubt about the first of `keys` that is there and no number above 0, or several; else None."""
        for key in keys:
            if self.states(section, key) and self.number(section, key) is None:
                entries = self._entries[section, key]
                said = " and ".join(dict.fromkeys(value for _, value in entries))[:40]
                return f"{self.name}: {entries[0][0]}={said} is not one length above 0; no spacing is taken of it"
        return None

    def number(self, section: str, key: str) -> float | None:
        """Return the value of a key as a number above 0; None where it is none."""
        text = self.text(section, key) or ""
        value = float(text.replace(",", ".")) if len(text) < _LONGEST and _NUMBER.fullmatch(text) else 0.0
        return value if value > 0 and isfinite(value) else None

    def quoted(self, section: str, *keys: str) -> str:
        """Return entries as they are written, after the name of the log."""
        entries = [entry for key in keys for entry in self._entries.get((section, key), [])[:1]]
        return f"{self.name}: {', '.join(f'{key}={value}' for key, value in entries)}"


def logged_spacing(folder: Location, slices: Sequence[str], shape: Shape, others: Iterable[str]) -> Logged:
    """Return what the logs in `folder` say of the scan of these `slices`, a volume of `shape` (z, y, x).

    `others` are the names of all other files there. Logs are those of the scan by their names: NAME.log of
    NAME0000.tif; where none is, those that are of no other slices either. Raise nothing for what cannot be read.
    """
    names = list(others)
    logs = [name for name in names if name.lower().endswith(LOG_SUFFIXES) and not name.startswith(".")]
    own = [log for log in logs if all(_is_named_after(name, log) for name in slices)]
    pictures = [name for name in names if name not in logs]
    of_nobody = [log for log in logs if not any(_is_named_after(name, log) for name in (*slices, *pictures))]
    return _agreed(_claims([folder / name for name in own or of_nobody], shape))


def logs_beside(file: Location) -> tuple[Location, ...]:
    """Return the logs beside a single `file` that have its name. Raise nothing."""
    stem = PurePosixPath(file.name).stem
    names = [f"{name}{suffix}" for name in dict.fromkeys((stem, stem.removesuffix(".ome"))) for suffix in LOG_SUFFIXES]
    found = []
    for name in names:
        with suppress(OSError, InputError):
            if (file.parent / name).is_file():
                found.append(file.parent / name)
    return tuple(found)


def logged_beside(logs: Sequence[Location], shape: Shape) -> Logged:
    """Return what the logs of a single file say of its volume of `shape` (z, y, x). Raise nothing."""
    return _agreed(_claims(logs, shape))


def take_logged(reader: ScanReader, logged: Logged, *, is_whole: bool = True) -> None:
    """Give a reader the spacing that the log says, where it has none of its own; say where the two disagree.

    `is_whole` is False where slices are known to be left out: then the distance between them is none that is logged.
    """
    if logged.doubt is not None and reader.spacing is None and reader.spacing_doubt is None:
        reader.spacing_doubt = logged.doubt
        reader.notes += (logged.doubt,)
    if logged.spacing is None:
        return
    if reader.spacing is None and not is_whole:
        reader.spacing_doubt = f"{logged.quoted} is of all slices, and some are left out"
        reader.notes += (reader.spacing_doubt,)
    elif reader.spacing is None:
        reader.spacing, reader.spacing_from, reader.spacing_doubt = logged.spacing, logged.quoted, None
    elif not same_spacing(reader.spacing, logged.spacing, SAME):
        reader.spacing_doubt = f"its files say {spacing_text(reader.spacing)} mm, {logged.quoted}"
        reader.spacing = None
        reader.notes += (reader.spacing_doubt,)


def _is_named_after(name: str, log: str) -> bool:
    stem, name = PurePosixPath(log).stem.casefold(), name.casefold()
    rest = name.removeprefix(stem)
    return rest != name and not (stem[-1:].isdigit() and rest[:1].isdigit())


def _claims(logs: Sequence[Location], shape: Shape) -> list[_Claim]:
    claims = []
    for place in logs[:_MOST_LOGS]:
        with suppress(OSError, InputError, StoreError):
            log = _Log(place.name, _decoded(place.read_start(_MOST_BYTES)))
            claims += [claim for read in _READERS if (claim := read(log, shape)) is not None]
    return claims


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace").lstrip("\ufeff")
    if data[1:64:2].count(0) > 16:
        return data.decode("utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _agreed(claims: Sequence[_Claim]) -> Logged:
    """What several logs say together. Those that speak of volumes count more, and those of other slices not at all."""
    ranked = [claim for claim in claims if claim.is_volume] or list(claims)
    believed = [claim for claim in ranked if claim.doubt is None and claim.edges is not None]
    if not believed:
        return Logged(doubt=ranked[0].doubt) if ranked else Logged()
    first = believed[0]
    for other in believed[1:]:
        if first.edges and other.edges and not same_spacing(first.edges, other.edges, SAME):
            return Logged(doubt=f"logs beside it disagree: {first.quoted}; {other.quoted}")
    return Logged(first.edges, first.quoted)


_Size = tuple[float | None, float | None, float | None]
"""Slices, rows and columns, as far as a log says them."""


def _fitting(claim: _Claim, shape: Shape, sizes: Sequence[_Size]) -> _Claim:
    """The claim, with a doubt where the volume is of none of these `sizes`; it may have fewer slices."""
    counts = [slices for slices, *face in sizes if tuple(face) == shape[1:]]
    if any(slices is None or shape[0] <= slices for slices in counts):
        return claim
    if counts:
        most = max(filter(None, counts))
        return replace(claim, doubt=f"{claim.quoted} is of {most:g} slices, these are {shape[0]}: of another scan?")
    faces = dict.fromkeys(tuple(face) for _, *face in sizes)
    stated = " or ".join(f"{rows:g} x {columns:g}" for rows, columns in faces if rows and columns)
    has = f"is of slices of {stated}, these are {shape[1]} x {shape[2]}" if stated else "does not say of which slices"
    return replace(claim, doubt=f"{claim.quoted} {has}: binned, cut or of another scan?")


def _skyscan(log: _Log, shape: Shape) -> _Claim | None:
    section = "reconstruction"
    if (doubt := log.unusable(section, "pixel size (um)", "section to section step")) is not None:
        return _Claim(None, log.name, doubt=doubt)
    pixel = log.number(section, "pixel size (um)")
    if pixel is None:
        return None
    step = log.number(section, "section to section step") or 1.0
    mm = _mm(pixel * 1e-3)
    claim = _Claim((_mm(mm * step), mm, mm), log.quoted(section, "pixel size (um)"))
    if step != 1:
        claim = replace(claim, quoted=log.quoted(section, "pixel size (um)", "section to section step"))
    rows, columns = (log.number(section, f"result image {side} (pixels)") for side in ("height", "width"))
    return _fitting(claim, shape, [(log.number(section, "sections count"), rows, columns)])


def _skyscan_projections(log: _Log, shape: Shape) -> _Claim | None:
    section = "acquisition"
    pixel = log.number(section, "image pixel size (um)")
    if pixel is None or log.states("reconstruction", "pixel size (um)"):
        return None
    quoted = log.quoted(section, "image pixel size (um)")
    return _of_projections(pixel * 1e-3, quoted, log.number(section, "number of columns"), shape)


def _phoenix(log: _Log, shape: Shape) -> _Claim | None:
    if (doubt := log.unusable("volumedata", "voxelsizerec")) is not None:
        return _Claim(None, log.name, doubt=doubt)
    edge = log.number("volumedata", "voxelsizerec")
    if edge is None:
        return None
    sides = [log.number("volumedata", f"volume_size{axis}") for axis in "xyz"]
    claim = _Claim((edge,) * 3, log.quoted("volumedata", "voxelsizerec"))
    return _fitting(claim, shape, list(permutations(sides, 3)))  # turned or not, as voxels are cubes


def _phoenix_projections(log: _Log, shape: Shape) -> _Claim | None:
    sides = [log.number("geometry", f"voxelsize{axis}") for axis in "xy"]
    if sides[0] is None or not log.has("ct"):
        return None
    quoted = log.quoted("geometry", "voxelsizex", "voxelsizey")
    if sides[1] is None or not same_spacing([sides[0]], [sides[1]], SAME):
        return _Claim(None, quoted, is_volume=False, doubt=f"{quoted} is not that of a cube")
    return _of_projections(sides[0], quoted, log.number("image", "dimx"), shape)


def _of_projections(edge: float, quoted: str, columns: float | None, shape: Shape) -> _Claim:
    edge = _mm(edge)
    claim = _Claim((edge, edge, edge), quoted, is_volume=False)
    if columns is not None and columns in shape[1:]:
        return claim
    wide = f"{columns:g} pixels wide" if columns else "of unknown width"
    return replace(
        claim,
        doubt=f"{quoted} is of projections {wide}, the slices are {shape[1]} x {shape[2]}: theirs only if nothing was "
        "binned",
    )


def _nikon(log: _Log, shape: Shape) -> _Claim | None:
    section = "xtekct"
    keys = [f"voxelsize{axis}" for axis in "xyz"]
    if (doubt := log.unusable(section, *keys)) is not None:
        return _Claim(None, log.name, doubt=doubt)
    x, y, z = (log.number(section, key) for key in keys)
    if x is None or y is None or z is None:
        return None
    claim = _Claim((z, y, x), log.quoted(section, *keys))
    if log.states(section, "units") and (unit := log.text(section, "units")) != "mm":
        return replace(claim, doubt=f"{claim.quoted} is in {unit or 'several units'!r}, not in mm")
    sides = [log.number(section, f"voxels{axis}") for axis in "xyz"]
    is_cube = same_spacing([x, x], [y, z], SAME)
    return _fitting(claim, shape, list(permutations(sides, 3)) if is_cube else [(sides[2], sides[1], sides[0])])


def _mm(edge: float) -> float:
    return float(f"{edge:.12g}")


_READERS: Final[tuple[Callable[[_Log, Shape], _Claim | None], ...]] = (
    _skyscan,
    _skyscan_projections,
    _phoenix,
    _phoenix_projections,
    _nikon,
)
