"""Arrays of more than three axes of which one volume is read: one channel and one point in time.

Other programs write every image as (t, c, z, y, x). Axes of length 1 hold nothing, so such an array is read like one
of (z, y, x); along longer ones a person has to choose. Which axis is which is as declared; three axes that nobody names
are z, y, x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import zarr
from zarr.core.buffer import NDBuffer

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.store.arrays import AXES

_MEANING: Final = {"c": "channel", "channel": "channel", "t": "time", "time": "time"}
_KNOWN: Final = {*AXES, *_MEANING}
_MANY: Final = {"channel": "channels", "time": "points in time"}
_NAMED: Final = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """Number of the channel and of the point in time that are read, from 0; None where nobody chose."""

    channel: int | None = None
    time: int | None = None


NOTHING_CHOSEN: Final = Chosen()


class Volume(zarr.Array[Any]):
    """An array (z, y, x) that is stored with further axes, at one place along each of them. To read only."""

    stored: zarr.Array[Any]
    """The array with all its axes."""
    fixed: Mapping[int, int]
    """Where along each of the further axes the volume lies, by the number of the axis."""
    _places: tuple[int, ...]

    def __init__(self, stored: zarr.Array[Any], places: Sequence[int], fixed: Mapping[int, int]) -> None:
        super().__init__(stored._async_array)
        object.__setattr__(self, "stored", stored)
        object.__setattr__(self, "fixed", dict(fixed))
        object.__setattr__(self, "_places", tuple(places))

    @property  # type: ignore[misc]  # Zarr lets its own shape be set
    def shape(self) -> tuple[int, ...]:
        """Shape (z, y, x) in voxels."""
        return self._three(self.stored.shape)

    @property
    def ndim(self) -> int:
        """Number of axes: 3."""
        return len(AXES)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape (z, y, x) of a chunk in voxels."""
        return self._three(self.stored.chunks)

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Shape (z, y, x) of a shard in voxels; None where there are no shards."""
        return None if self.stored.shards is None else self._three(self.stored.shards)

    def __getitem__(self, selection: Any) -> Any:
        """Voxels of three slices."""
        return self.stored[self._whole(selection)]

    def get_basic_selection(self, selection: Any = Ellipsis, *, out: NDBuffer | None = None, **options: Any) -> Any:
        """Return the voxels of three slices, put into `out` where it is given."""
        return self.stored.get_basic_selection(self._whole(selection), out=out, **options)

    def _whole(self, selection: Any) -> tuple[Any, ...]:
        if selection is Ellipsis or selection == slice(None):
            selection = (slice(None),) * 3
        index: list[Any] = [self.fixed.get(axis) for axis in range(self.stored.ndim)]
        for place, part in zip(self._places, selection, strict=True):
            index[place] = part
        return tuple(index)

    def _three(self, sides: tuple[int, ...]) -> Shape:
        z, y, x = (sides[place] for place in self._places)
        return z, y, x


def stored_array(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return the array with all the axes that it is stored with."""
    return array.stored if isinstance(array, Volume) else array


def as_volume(
    array: zarr.Array[Any],
    axes: Sequence[str] | None,
    name: str,
    chosen: Chosen = NOTHING_CHOSEN,
    labels: Sequence[str] = (),
) -> zarr.Array[Any]:
    """Return `array` as one of (z, y, x), whose `axes` are named by its metadata or not (None).

    `chosen` says which channel and point in time are read where there are several; `labels` are what channels are
    called. Raise `InputError` naming the axes when they are others, are in another order, or hold more than one volume
    and nobody chose.
    """
    axes = [axis.lower() for axis in axes or _declared(array) or _assumed(array, name)]
    shape, told = array.shape, ", ".join(axes)
    if len(axes) != len(shape):
        raise InputError(
            f"{name}: axes {told} of an array of shape {shape}; mend the metadata, or give the array itself"
        )
    if tuple(axis for axis in axes if axis in AXES) != AXES or not set(axes) <= _KNOWN or len(set(axes)) != len(axes):
        raise InputError(f"{name}: axes {told}; must be z, y, x in this order; write the image again so")
    lengths = {_MEANING[axis]: n for axis, n in zip(axes, shape, strict=True) if axis in _MEANING}
    at = _place_in({"channel": 1, "time": 1, **lengths}, chosen, f"{name}: axes {told} of {shape} voxels", labels)
    if tuple(axes) == AXES:
        return array
    fixed = {number: at[_MEANING[axis]] for number, axis in enumerate(axes) if axis in _MEANING}
    return Volume(array, [axes.index(axis) for axis in AXES], fixed)


def _assumed(array: zarr.Array[Any], name: str) -> Sequence[str]:
    """Names of the axes of an array that says none: those in front of the last three may be of length 1."""
    shape = array.shape
    extra = len(shape) - len(AXES)
    if extra in (0, 1, 2) and all(n == 1 for n in shape[:extra]):
        return ["t", "c", *AXES][len(AXES) - 1 - extra :]
    problem = f"{name}: {len(shape)}-dimensional array {shape}; must be 3-dimensional (z, y, x)"
    if extra not in (1, 2):
        raise InputError(f"{problem}; give an array of three axes")
    example = '["t", "c", "z", "y", "x"]' if extra == len(_MANY) else '["c", "z", "y", "x"]'
    raise InputError(
        f"{problem}, or say which axis is which; name its axes in its metadata (dimension_names of zarr.json, "
        f"_ARRAY_DIMENSIONS of .zattrs), like {example}"
    )


def _place_in(lengths: Mapping[str, int], chosen: Chosen, name: str, labels: Sequence[str]) -> dict[str, int]:
    """Where along the channels and points in time the volume lies; raise `InputError` where nobody chose rightly."""
    at = {}
    for meaning, count in lengths.items():
        wanted = getattr(chosen, meaning)
        there = f"{count} {_MANY[meaning]}" if count > 1 else f"1 {_MANY[meaning].replace('s', '', 1)}"
        if meaning == "channel" and any(labels):
            shown = [f"{number} {label}".strip() for number, label in enumerate(labels[:_NAMED])]
            there += f" ({', '.join(shown)}{', ...' if len(labels) > _NAMED else ''})"
        if wanted is None and count > 1:
            raise InputError(f"{name}: {there}; one is read", f"choose it with <{meaning}>", "export one as z, y, x")
        if wanted is not None and wanted >= count:
            raise InputError(f"{name}: no {meaning} {wanted}; it has {there}, from 0", f"correct <{meaning}>")
        at[meaning] = wanted or 0
    return at


def _declared(array: zarr.Array[Any]) -> Sequence[str] | None:
    """Names of the axes that an array says itself, where they are names that are known here."""
    attributes: Any = array.metadata.attributes
    names: Any = getattr(array.metadata, "dimension_names", None)
    if not names and isinstance(attributes, dict):
        names = attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    lower = [name.lower() for name in names]
    return cast(Sequence[str], lower) if set(lower) <= _KNOWN and len(set(lower)) == len(lower) else None
