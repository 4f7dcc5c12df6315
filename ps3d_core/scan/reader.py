"""What every scan source looks like from here: a stack of slices that can be read a range at a time.

Formats differ in how they lie about themselves; a reader settles that when it is opened (one grey volume, one dtype,
every slice there) and from then on only delivers voxels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.params import SourceParams
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

CHOICES: Final = {
    "series": "a folder of slices, among which to choose",
    "inside": "a file that holds several volumes",
    "channel": "a source with channels",
    "time": "a source with points in time",
    "channels_are_slices": "a TIFF file with channels",
}
"""Parameters of a source that only some formats have, and what has them."""


class ScanReader(ABC):
    """An open source of one volume, axes (z, y, x). Close it, or use it in a `with` statement.

    A reader of files is made of a `Location` and says by their `suffixes` which it reads. It is found by its entry
    point in the group `ps3d.readers`, see `ps3d_core.scan.readers`.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """How the names of files that it reads end, in lower case."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Which parameters it heeds of those that not every format has: `ps3d_core.scan.reader.CHOICES`."""
    is_last: ClassVar[bool] = False
    """True when it takes what nobody else does, and is asked after all others."""
    shape: Shape
    dtype: np.dtype[Any]
    spacing: Spacing | None = None
    """mm per voxel (z, y, x), where the source says so beyond doubt."""
    spacing_from: str | None = None
    """Where the spacing was found, in a few words; None for the file's own header."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """Position (z, y, x) of the centre of the first voxel in mm, as far as the source is a part of something larger."""
    spacing_doubt: str | None = None
    """Why the spacing that the source states is not believed; one of the notes."""
    description: str
    """What was opened, in a few words and without its path: goes into the provenance of the copy."""
    notes: tuple[str, ...] = ()
    """Facts a person should hear of."""
    chunk_depth: int = 1
    """Ranges that are multiples of this many slices are read without decoding anything twice."""
    in_order: bool = False
    """True where a slice is reached only through all before it, as in what is packed as one stream."""
    is_label: bool = False
    """True when the source says that its voxels are ids."""
    beside: tuple[Location, ...] = ()
    """Files outside of the source that voxels or spacing come from as well: of a header its voxels, a scanner's log."""

    @classmethod
    def reads(cls, location: Location, children: Collection[str] | None) -> bool:
        """Return whether this class reads what is at `location`: a folder with `children`, a file when None."""
        return children is None and location.name.lower().endswith(cls.suffixes)

    @classmethod
    def opened(cls, location: Location, params: SourceParams) -> ScanReader:
        """Open what is at `location` and return its reader.

        `params` say what of it is read; those that are not among `takes` have been refused before. Raise `InputError`
        for what cannot be read.
        """
        return cls(location)  # type: ignore[call-arg]

    @abstractmethod
    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return slices `start` to `stop` as a new array (z, y, x) of `dtype`. May be called from several threads."""

    @abstractmethod
    def close(self) -> None:
        """Release files and threads."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Facts a person should hear of that come to light only while voxels are read."""
        return ()

    @property
    def without_spacing(self) -> str:
        """Reason why the source brings no spacing, for messages where one is needed."""
        return self.spacing_doubt or "the source does not say its spacing"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DerivedReader(ScanReader):
    """Another volume, of which it delivers something else; owns it. What it does not say otherwise is as there."""

    def __init__(self, whole: ScanReader) -> None:
        self._whole = whole
        self.shape, self.dtype, self.chunk_depth = whole.shape, whole.dtype, whole.chunk_depth
        self.spacing, self.spacing_from, self.spacing_doubt = whole.spacing, whole.spacing_from, whole.spacing_doubt
        self.origin, self.is_label, self.beside = whole.origin, whole.is_label, whole.beside
        self.in_order = whole.in_order
        self.description, self.notes = whole.description, whole.notes

    @property
    def findings(self) -> tuple[str, ...]:
        """Facts that the other volume has brought to light."""
        return self._whole.findings

    def close(self) -> None:
        """Close the other volume."""
        self._whole.close()


def scan_dtype(dtype: npt.DTypeLike, source: str) -> np.dtype[Any]:
    """Return `dtype` in native byte order when grey values or ids can have it: integers and floats up to 64 bits.

    Raise `InputError` for any other.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise InputError(
            f"{source}: voxels of type {dtype}; must be integers or floats of 8 to 64 bits; convert the scan"
        )
    return np.dtype(f"{dtype.kind}{dtype.itemsize}")  # "long" and "long long" of 64 bits become one


def scan_shape(shape: tuple[int, ...], source: str) -> Shape:
    """Return `shape` when it is that of a volume: three axes, at least 2 slices, no empty side.

    Raise `InputError` for any other.
    """
    if min(shape, default=0) < 1:
        raise InputError(f"{source}: {shape}: an axis without voxels; must be 1 or more along each; restore the scan")
    if len(shape) != 3:
        raise InputError(f"{source}: {len(shape)}-dimensional {shape}; must be one volume (z, y, x); split it first")
    if shape[0] < 2:
        raise InputError(
            f"{source}: one 2-D slice of {shape[1]} x {shape[2]}; a scan needs at least 2 slices; give the folder or "
            "file that holds all of them"
        )
    return shape[0], shape[1], shape[2]
