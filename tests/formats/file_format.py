"""What a format of scans has to show: written and read by programs that are not ours.

A module of this folder that has `FORMATS` adds to all of them; every test of formats runs for each.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ps3d_core.store.ome import Spacing

Volume = npt.NDArray[Any]
Part = tuple[Path, int, int]
"""Bytes of a file, from the first to behind the last."""

DTYPES = ("uint8", "uint16", "int16", "float32")
SPACING: Spacing = (0.02, 0.0125, 0.005)
"""Of what is written where the format keeps one: z, y and x, all different."""


def _first_bytes(source: Path) -> list[Part]:
    """The first bytes of the file, or of one file in a folder."""
    file = source if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())[0]
    return [(file, 0, min(2048, file.stat().st_size // 2))]


@dataclass(frozen=True)
class FileFormat:
    """A format, and what is promised of it; everything promised is tested.

    Attributes:
        name: in the table of the documentation, with the program that wrote the files where that matters.
        write: writes a volume (z, y, x) with a spacing (z, y, x, mm) into an empty folder and returns what a user would
            give, without any code of ours.
        read: reads that back as (z, y, x), without any code of ours.
        dtypes: that the format can hold.
        spacing: what a reader finds of the spacing that was written; None where the format keeps none.
        is_slabwise: a range of slices is read without reading everything.
        is_remote: it is read from object stores, too; else refused there with a remedy.
        headers: parts of the files of a source that are not voxels, which are damaged on purpose.
        truncated: file of a source whose end is cut off, to be refused; the largest by default.
        params: what has to be said when it is read, of `SourceParams`.

    """

    name: str
    write: Callable[[Path, Volume, Spacing], Path]
    read: Callable[[Path], Volume]
    dtypes: Sequence[str] = DTYPES
    spacing: Spacing | None = SPACING
    is_slabwise: bool = True
    is_remote: bool = True
    headers: Callable[[Path], list[Part]] = _first_bytes
    truncated: Callable[[Path], Path] | None = None
    params: Callable[[Volume], dict[str, Any]] = lambda volume: {}

    def __str__(self) -> str:
        return self.name


def largest_file(source: Path) -> Path:
    """The largest file of a source and what lies beside it."""
    around = source.rglob("*") if source.is_dir() else source.parent.iterdir()
    return max((path for path in around if path.is_file()), key=lambda path: path.stat().st_size)


def sample(dtype: str, shape: tuple[int, int, int] = (7, 11, 13), seed: int = 0) -> Volume:
    """A volume without any symmetry, over most of what the type can hold."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -30_000), min(limits.max, 60_000), shape, endpoint=True).astype(dtype)


@cache
def all_formats() -> tuple[FileFormat, ...]:
    """Every format of the modules of this folder, by name."""
    import tests.formats

    modules = [
        importlib.import_module(f"tests.formats.{found.name}") for found in pkgutil.iter_modules(tests.formats.__path__)
    ]
    formats = [each for module in modules for each in getattr(module, "FORMATS", ())]
    return tuple(sorted(formats, key=lambda each: each.name))


def format_named(name: str) -> FileFormat:
    """The format of this name."""
    return next(each for each in all_formats() if each.name == name)
