"""Files of Zeiss (Xradia) X-ray microscopes: .txm, a reconstructed volume, and .txrm, its projections.

Both are compound files (MS-CFB) with a stream for each image, in folders of a hundred, and small ones for what is said
of them. Only volumes are read. Rows come as stored; programs of the microscope show them from the bottom up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read, size_of
from ps3d_core.scan.reader import ScanReader, scan_shape
from ps3d_core.scan.suffixes import XRM_SUFFIXES
from ps3d_core.store.location import Location

_TYPES: Final = {2: "<i1", 3: "<u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 10: "<f4", 11: "<f8"}
"""Types of voxels by their numbers in DataType."""
_RECONSTRUCTION: Final = 10
"""Number of AcquisitionMode that says that the images are slices."""
_PER_FOLDER: Final = 100
_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MOST_BESIDE: Final = 4
"""Times that what a small stream holds may be longer than the number at its front."""
_DAMAGED: Final = (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError, struct.error)
"""What olefile makes of damaged files."""


class XrmVolume(ScanReader):
    """The slices in a .txm file, or in another file of this kind that says that they are some."""

    suffixes = XRM_SUFFIXES

    def __init__(self, location: Location) -> None:
        self._location, self._name = location, str(location)
        self._lock = Lock()
        self._file = open_to_read(location)
        try:
            with self._reading():
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        import olefile

        size = size_of(self._file)
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"{self._name}: not a file of an X-ray microscope (no compound file); restore the file")
        self._file.seek(0)
        self._streams = olefile.OleFileIO(self._file, raise_defects=olefile.DEFECT_INCORRECT)
        width, height, count = (self._whole_number(name) for name in ("ImageWidth", "ImageHeight", "NoOfImages"))
        kind = self._whole_number("DataType")
        if kind not in _TYPES:
            raise InputError(f"{self._name}: voxels of type number {kind}; must be one of {sorted(_TYPES)}; convert it")
        self._stored = np.dtype(_TYPES[kind])
        self.dtype = self._stored.newbyteorder("=")
        if width * height * count * self._stored.itemsize > size:
            raise InputError(
                f"{self._name}: truncated, {size} bytes do not hold {count} images of {height} x {width} "
                f"{self.dtype}; restore the file"
            )
        notes = self._check_kind(count)
        self.shape = scan_shape((count, height, width), self._name)
        self._check_images()
        self.spacing, self.spacing_doubt = self._pixel_size()
        self.notes = tuple(filter(None, (notes, self.spacing_doubt)))
        self.description = f"XRM file {self._location.name} of {count} slices"

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:  # noqa: D102
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for values, index in zip(slab, range(start, stop), strict=True):
            with self._lock, self._reading(), self._streams.openstream(_stream_of(index)) as stream:
                data = stream.read()
            if len(data) != values.nbytes:
                raise InputError(f"{self._name}: truncated at slice {index}; restore the file")
            values[...] = np.frombuffer(data, self._stored).reshape(values.shape)
        return slab

    def close(self) -> None:  # noqa: D102
        self._file.close()

    def _check_kind(self, count: int) -> str | None:
        """Return a note where a .txm says of itself what projections say. Raise `InputError` for projections."""
        mode = self._number("AcquisitionMode", "<i")
        if mode == _RECONSTRUCTION:
            return None
        says = "says no acquisition mode" if mode is None else f"acquisition mode {mode}, not {_RECONSTRUCTION}"
        if self._location.name.lower().endswith(".txm"):
            return None if mode is None else f"{says}, as projections have; taken for a volume because of its name"
        raise InputError(
            f"{self._name}: {count} projections ({says}), which are not yet a volume; reconstruct them and give the "
            ".txm file"
        )

    def _check_images(self) -> None:
        count, slice_bytes = self.shape[0], self.shape[1] * self.shape[2] * self._stored.itemsize
        for index in range(count):
            path = _stream_of(index)
            held = self._streams.get_size(path) if self._streams.exists(path) else None
            if held is None:
                raise InputError(f"{self._name}: {path} of {count} is missing; restore the file")
            if held != slice_bytes:
                raise InputError(
                    f"{self._name}: {path} has {held} bytes; {self.shape[1]} x {self.shape[2]} {self.dtype} have "
                    f"{slice_bytes}; restore the file, or save it as TIFF"
                )
        if self._streams.exists(_stream_of(count)):
            raise InputError(f"{self._name}: more images than the {count} that its header says; restore the file")

    def _pixel_size(self) -> tuple[tuple[float, float, float] | None, str | None]:
        size = self._number("PixelSize", "<f")
        if size is None:
            return None, None
        if not (isfinite(size) and size > 0):
            return None, f"its pixel size {size:g} um is not used: must be above 0"
        edge = float(f"{size:.7g}") * 1e-3
        return (edge, edge, edge), None

    def _whole_number(self, name: str) -> int:
        number = self._number(name, "<I")
        if number is None:
            raise InputError(f"{self._name}: says no ImageInfo/{name}; restore the file or save it as TIFF")
        return int(number)

    def _number(self, name: str, form: str) -> Any:
        """The number at the front of a stream of ImageInfo; None where there is no such stream."""
        path, length = f"ImageInfo/{name}", struct.calcsize(form)
        if not self._streams.exists(path):
            return None
        held = self._streams.get_size(path)
        if not length <= held <= length * _MOST_BESIDE:
            raise InputError(f"{self._name}: {held} bytes in {path}, which is one number; restore the file")
        with self._streams.openstream(path) as stream:
            return struct.unpack(form, stream.read(length))[0]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except _DAMAGED as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise InputError(f"{self._name}: damaged or not readable ({reason}); restore the file") from error


def _stream_of(index: int) -> str:
    return f"ImageData{index // _PER_FOLDER + 1}/Image{index + 1}"
