"""Readers of scans, each found by its entry point.

A package adds a format when it declares a `ScanReader` in the group `ps3d.readers`, in its pyproject.toml:

    [project.entry-points."ps3d.readers"]
    npy = "our_lab.npy:NpyVolume"

Ours are declared so, too, and are asked first: nobody takes over a format by being installed. Others are imported only
for what none of ours reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.reader import ScanReader
from ps3d_core.store.location import Location

GROUP: Final = "ps3d.readers"
_OURS: Final = "ps3d_core."


def reader_of(location: Location, children: Collection[str] | None, params: SourceParams) -> type[ScanReader] | None:
    """Return who reads what is at `location`: a folder with these `children`, a file when they are None.

    Where `params` say the layout of raw voxels, that is who reads such files, whatever their names.

    Raises `InputError` for a reader of another package that cannot be loaded, where it might be the one.
    """
    if params.raw is not None:
        return next((reader for reader in _in_order() if "raw" in reader.takes and children is None), None)
    return next((reader for reader in _in_order() if reader.reads(location, children)), None)


def _in_order() -> Iterator[type[ScanReader]]:
    """Yield ours, then those of others, and at last those that take what nobody else does."""
    own = [_loaded(entry) for entry in _declared() if entry.value.startswith(_OURS)]
    yield from (reader for reader in own if not reader.is_last)
    yield from (_loaded(entry) for entry in _declared() if not entry.value.startswith(_OURS))
    yield from (reader for reader in own if reader.is_last)


@cache
def _declared() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)))


@cache
def _loaded(entry: EntryPoint) -> type[ScanReader]:
    try:
        reader = entry.load()
    except Exception as error:
        raise _unusable(entry, f"{type(error).__name__}: {error}") from error
    if not (isinstance(reader, type) and issubclass(reader, ScanReader)):
        raise _unusable(entry, "it is no ScanReader")
    return reader


def _unusable(entry: EntryPoint, reason: str) -> InputError:
    package = entry.dist.name if entry.dist is not None else entry.value
    return InputError(f"reader {entry.name!r} of package {package} cannot be used ({reason}); update or uninstall it")
