"""What lies in the inbox, from one listing: which files belong together, and when they last changed.

Times are the store's own. On a folder that is the time of the last change of the inode, which nobody can set, rather
than the one that copying tools preserve.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from ps3d_core.inbox.description import FILE
from ps3d_core.scan.companions import SLICE_SUFFIXES, is_without_ending, scan_files, together, voxel_files
from ps3d_core.scan.suffixes import HDF5_SUFFIXES, ZARR_FILES
from ps3d_core.store.ledger import fingerprint

LEFT: Final = ".left"
"""Folder in the inbox whose files say which arrivals were processed and left where they are."""
ASKED: Final = ".asked"
"""Folder in the inbox whose files say that what lies under a key is to be taken again, see `again`."""
README_FILE: Final = "README.txt"
FUTURE_SECONDS = 5.0
_ZARR_ENDING = ".zarr"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size, version and times of a file, as a listing has them."""

    size: int
    version: str
    """ETag on object stores, time of the last write on a folder: another one means another content."""
    times: tuple[float, ...]
    is_plain: bool = True
    """False for links, pipes and the like, behind which anything may be."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Stamp:
        """Return the stamp that follows from `info`, the entry of fsspec for a file."""
        times = tuple(_seconds(info[key]) for key in ("LastModified", "created", "mtime") if info.get(key) is not None)
        version = next((str(info[key]) for key in ("ETag", "mtime", "created") if info.get(key) is not None), "")
        return cls(int(info["size"]), version, times, info.get("type") == "file" and not info.get("islink"))

    @property
    def mark(self) -> str:
        """Size and version of the file in one text."""
        return f"{self.size} {self.version}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Files that were dropped together: a folder, or an image with its description beside it."""

    name: str
    """Of the folder, or of the image without its ending."""
    is_folder: bool
    files: Mapping[str, Stamp]
    """By name relative to the inbox, hidden ones included."""
    asked: str = ""
    """Another text whenever somebody asked for it again."""

    @property
    def key(self) -> str:
        """Name that tells the arrival from everything else in the inbox."""
        return f"{self.name}/" if self.is_folder else self.name

    @property
    def digest(self) -> str:
        """Digest of names and versions of all files, which changes when any of them does."""
        return fingerprint(self.key, sorted((name, stamp.mark) for name, stamp in self.files.items()))

    @property
    def sign(self) -> str:
        """Name of the file, relative to the inbox, by which the arrival is asked for again."""
        return sign_of(self.key)

    @property
    def description(self) -> str:
        """Name of the description's file, relative to the inbox."""
        return f"{self.name}/{FILE}" if self.is_folder else f"{self.name}.json"

    @property
    def slices(self) -> list[str]:
        """Files that are slices or parts of the scan: pictures, DICOM with or without an ending, HDF5."""
        images = self._images()
        slices = [name for name in images if name.lower().endswith(SLICE_SUFFIXES)]
        if slices or not self.is_folder:
            return slices
        if len(images) > 1 and all(name.lower().endswith(HDF5_SUFFIXES) for name in images):
            return images
        unnamed = [name for name in self._visible() if _may_be_dicom(name.rpartition("/")[2])]
        return unnamed if len(unnamed) > 1 and not images else []

    @property
    def sources(self) -> list[str]:
        """Names of all that may be the scan, relative to the inbox; it must be one for the scan to be read."""
        images = self._images()
        if not self.is_folder:
            return images
        if self.slices or self._is_zarr(self.name):
            return [self.name]
        return [*images, *self._zarrs()]

    def source(self, *, is_raw: bool) -> str:
        """Return the name of the scan, relative to the inbox; with `is_raw` voxels come before a header of theirs."""
        voxels = voxel_files(self._visible()) if is_raw else []
        return voxels[0] if len(voxels) == 1 else next(iter(self.sources), self.name)

    @property
    def arrived(self) -> float:
        """Time when the last file came, seconds, for the order of arrivals; 0 when no file has one."""
        return max((stamp.times[0] for stamp in self.files.values() if stamp.times), default=0.0)

    def changed(self, clock: float) -> float:
        """Return the time of the last change, seconds; 0 when none is known.

        Times `FUTURE_SECONDS` or more after `clock`, from a scanner whose own clock is ahead, tell nothing.
        """
        times = [time for stamp in self.files.values() for time in stamp.times if time < clock + FUTURE_SECONDS]
        return max(times, default=0.0)

    def _zarrs(self) -> list[str]:
        """Folders in this one that are Zarrs; named so, as resolution levels of one that is not all there are not."""
        below = {name.split("/")[1] for name in self.files if name.count("/") > 1}
        named = sorted(name for name in below if name.lower().endswith(_ZARR_ENDING) and not name.startswith("."))
        return [folder for name in named if self._is_zarr(folder := f"{self.name}/{name}")]

    def _is_zarr(self, folder: str) -> bool:
        return any(f"{folder}/{file}" in self.files for file in ZARR_FILES)

    def _images(self) -> list[str]:
        return scan_files(self._visible())

    def _visible(self) -> list[str]:
        depth = 1 if self.is_folder else 0
        return [name for name in self.files if name.count("/") == depth and name.rpartition("/")[2][:1] != "."]


def arrivals_in(listing: Mapping[str, Mapping[str, Any]]) -> list[Arrival]:
    """Return what a listing of the inbox, hidden files included, holds, in order of arrival.

    Arrivals that were processed and left in the inbox are not among them.
    """
    stamps = {name: Stamp.of(info) for name, info in listing.items()}
    left = {name.removeprefix(f"{LEFT}/") for name in stamps if name.startswith(f"{LEFT}/")}
    arrivals = [*_folders(stamps), *_files(stamps)]
    waiting = (_asked(arrival, stamps) for arrival in arrivals if arrival.digest not in left)
    return sorted(waiting, key=lambda arrival: (arrival.arrived, arrival.key))


def unknown_in(listing: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the files directly in the inbox that are neither images nor descriptions, sorted.

    Hidden files and the README of ps3d are left out.
    """
    stamps = {name: Stamp.of(info) for name, info in listing.items()}
    known = {name for members in _loose(stamps).values() for name in members}
    others = (name for name in stamps if "/" not in name and not name.startswith(".") and name != README_FILE)
    return sorted(name for name in others if stamps[name].is_plain and name not in known)


def sign_of(key: str) -> str:
    """Return the name of the file, relative to the inbox, by which the arrival of this key is asked for again."""
    return f"{ASKED}/.{fingerprint(key)}"


def _asked(arrival: Arrival, stamps: Mapping[str, Stamp]) -> Arrival:
    sign = stamps.get(arrival.sign)
    return arrival if sign is None else replace(arrival, asked=sign.mark)


def _folders(stamps: Mapping[str, Stamp]) -> list[Arrival]:
    files: defaultdict[str, dict[str, Stamp]] = defaultdict(dict)
    for name, stamp in stamps.items():
        folder, slash, _ = name.partition("/")
        hidden = folder.startswith(".") and folder.strip(".")  # .. is a name on object stores
        if (slash or not stamp.is_plain) and not hidden:
            files[folder][name] = stamp
    return [Arrival(folder, True, members) for folder, members in files.items()]


def _files(stamps: Mapping[str, Stamp]) -> list[Arrival]:
    loose = _loose(stamps)
    return [Arrival(stem, False, {name: stamps[name] for name in names}) for stem, names in loose.items()]


def _loose(stamps: Mapping[str, Stamp]) -> dict[str, list[str]]:
    """Files directly in the inbox that belong together, each with its description, by their name without endings."""
    names = [name for name, stamp in stamps.items() if stamp.is_plain and "/" not in name and name[:1] != "."]
    groups = together(names)
    for name in names:
        if name.lower().endswith(".json"):
            groups.setdefault(name[:-5], []).append(name)
    return groups


def _may_be_dicom(name: str) -> bool:
    return is_without_ending(name) and name != "DICOMDIR"


def _seconds(time: Any) -> float:
    return time.timestamp() if isinstance(time, datetime) else float(time)
