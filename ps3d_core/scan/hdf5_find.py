"""Which dataset of an HDF5 file is the volume: the one that is named, that NeXus says is shown first, or the only one.

Not every array with three axes is one: colours, matrices, previews, and the projections that a volume is reconstructed
from are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.scan.hdf5_file import DAMAGED, Found, Hdf5Files, reading

_MOST_OBJECTS: Final = 20_000
_MINOR: Final = 64
"""An array with so many times fewer voxels than the largest is a preview or a table, not the scan."""
_NAMED: Final = 6
_COLOURS: Final = (3, 4)
_ANGLES: Final = ("theta", "image_key", "rotation_angle", "image_key_control")
"""Beside projections lies one of these for each of them."""
_FLATS: Final = ("data_white", "data_dark")
"""Beside projections lie these, in the format Data Exchange."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A dataset, and whether it seems to be projections, not a volume."""

    found: Found
    is_projections: bool


def volume_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape of more than three axes without those of length 1, as far as three are left."""
    sides = list(shape)
    while len(sides) > 3 and 1 in sides:
        sides.remove(1)
    return tuple(sides)


def found_volume(files: Hdf5Files, inside: str | None, least_axes: int = 3) -> Choice:
    """Return the dataset that is read, at `inside` or the only volume there is; see above.

    `least_axes` is 2 where a file holds a slice of a volume. Raise `InputError` when there is none, or several.
    """
    group = files.root
    if inside is not None:
        named = files.find(inside)
        if named is None:
            raise InputError(f"{files.location}: nothing at {inside}; {_there_are(files, least_axes)}", _CHOOSE)
        if is_dataset(named):
            return Choice(named, _is_projections(files, named))
        group = named
    shown = _shown(files, group)
    if shown is not None and _may_be(shown, least_axes) and not _is_projections(files, shown):
        return Choice(shown, False)
    volumes = _volumes(files, group, least_axes)
    chosen = [choice for choice in volumes if not choice.is_projections]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise InputError(
            f"{files.location}: {len(chosen)} volumes: {_list_of(chosen)}",
            f"{_CHOOSE}, like {chosen[0].found.path}",
            f"where a file is named, name it {files.location.name}:{chosen[0].found.path}",
        )
    if volumes:
        raise InputError(
            f"{files.location}: {_list_of(volumes)}: projections, which are not yet a volume; reconstruct it first",
            "read them as if they were slices with their path as <inside>",
        )
    if files.unreached:
        raise files.unreached[0]
    raise InputError(f"{files.location}: no volume in it; {_arrays_of(files, group)}; give the file that holds it")


_CHOOSE: Final = "choose one with <inside>"


def is_dataset(found: Found) -> bool:
    """Return whether it is an array, not a group or a type."""
    import h5py

    return isinstance(found.item, h5py.Dataset)


def text_of(value: Any) -> str:
    """Return a text as attributes and datasets hold it, in either way of HDF5; empty for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def attribute(item: Any, name: str) -> Any:
    """Return the value of an attribute; None where there is none, or none that can be read."""
    try:
        return item.attrs.get(name)
    except Exception:  # whatever a damaged one makes the library raise: it says nothing then
        return None


def _shown(files: Hdf5Files, group: Found) -> Found | None:
    """What NeXus shows first: @default leads from group to group, @signal to the array."""
    for _ in range(8):
        if signal := text_of(attribute(group.item, "signal")):
            array = files.find(signal, group) if "/" not in signal else None
            return array if array is not None and is_dataset(array) else None
        default = text_of(attribute(group.item, "default"))
        there = files.find(default, group) if default else None
        if there is None or is_dataset(there):
            return None
        group = there
    return None


def _volumes(files: Hdf5Files, group: Found, least_axes: int) -> list[Choice]:
    choices: dict[tuple[Any, ...], Choice] = {}
    for found in _arrays(files, group):
        if not _may_be(found, least_axes):
            continue
        key = _identity(found)
        # The same array may be there by several paths.
        if key not in choices or _rank(files, found) > _rank(files, choices[key].found):
            choices[key] = Choice(found, _is_projections(files, found))
    largest = max((prod(choice.found.item.shape) for choice in choices.values()), default=0)
    return [choice for choice in choices.values() if prod(choice.found.item.shape) * _MINOR > largest]


def _rank(files: Hdf5Files, found: Found) -> tuple[bool, bool]:
    """How telling a path is: beside an array that NeXus shows lie its axes, and a link is not where it really is."""
    folder = files.find(found.path.rpartition("/")[0] or "/")
    shown = folder is not None and attribute(folder.item, "signal") is not None
    return shown, found.item.name == found.path


def _may_be(found: Found, least_axes: int) -> bool:
    """Whether an array can be a volume: numbers, three axes, and no colours."""
    with reading(str(found.file)):
        shape, kind = found.item.shape, found.item.dtype.kind
    if shape is None or kind not in "iuf":
        return False
    sides = volume_shape(shape)
    if is_colour(found.item, sides):
        return False
    wide = len(sides) >= 2 and min(sides[-2:]) > 1
    return least_axes <= len(sides) <= 3 and wide and (sides[0] > 1 or least_axes == 2)


def is_colour(item: Any, sides: tuple[int, ...]) -> bool:
    """Return whether an array of three axes is one picture in colours."""
    if text_of(attribute(item, "IMAGE_SUBCLASS")) == "IMAGE_TRUECOLOR":
        return True
    return len(sides) == 3 and sides[-1] in _COLOURS and item.dtype.itemsize <= 2


def _is_projections(files: Hdf5Files, found: Found) -> bool:
    """Whether an array has the company of projections, one for each angle; dark and white fields are of these, too."""
    folder = files.find(found.path.rpartition("/")[0] or "/")
    if folder is None or is_dataset(folder) or not found.item.shape:
        return False
    if any(files.find(name, folder) is not None for name in _FLATS):
        return found.path.rpartition("/")[2].startswith("data")
    for name in _ANGLES:
        angles = files.find(name, folder)
        if angles is not None and is_dataset(angles) and angles.item.shape == found.item.shape[:1]:
            return True
    return False


def _arrays(files: Hdf5Files, group: Found) -> Iterator[Found]:
    """All arrays at and below a group, each object once per path; links that lead nowhere are passed over."""
    waiting, seen, count = [group], set[tuple[Any, ...]](), 0
    while waiting:
        here = waiting.pop()
        if is_dataset(here):
            yield here
            continue
        if (key := _identity(here)) in seen:
            continue
        seen.add(key)
        with reading(str(here.file)):
            names = sorted(here.item.keys(), reverse=True) if hasattr(here.item, "keys") else []
        count += len(names)
        if count > _MOST_OBJECTS:
            raise InputError(f"{files.location}: more than {_MOST_OBJECTS} objects", "name the volume with <inside>")
        waiting += [there for name in names if (there := _reached(files, name, here)) is not None]


def _reached(files: Hdf5Files, name: str, group: Found) -> Found | None:
    try:
        return files.find(name, group)
    except InputError as error:
        files.unreached.append(error)
        return None


def _identity(found: Found) -> tuple[Any, ...]:
    import h5py

    with reading(str(found.file)):
        info = h5py.h5o.get_info(found.item.id)
        return (found.file, info.addr)


def _there_are(files: Hdf5Files, least_axes: int) -> str:
    volumes = _volumes(files, files.root, least_axes)
    return f"there is {_list_of(volumes)}" if volumes else "there is no volume at all"


def _list_of(choices: list[Choice]) -> str:
    named = [_named(choice.found) for choice in choices[:_NAMED]]
    more = f" and {len(choices) - _NAMED} more" if len(choices) > _NAMED else ""
    return ", ".join(named) + more


def _named(found: Found) -> str:
    try:
        dtype = found.item.dtype
    except DAMAGED:
        return f"{found.path} {found.item.shape} of unknown values"
    is_grey = dtype.kind in "iuf"
    return f"{found.path} {found.item.shape}" + ("" if is_grey else f" of {str(dtype)[:40]}, which are no grey values")


def _arrays_of(files: Hdf5Files, group: Found) -> str:
    """What is there instead of a volume."""
    arrays = [Choice(found, False) for found in _arrays(files, group) if found.item.shape]
    arrays.sort(key=lambda choice: -prod(choice.found.item.shape))
    return f"there is {_list_of(arrays)}" if arrays else "there are no arrays"
