"""Arrays of more than three axes that hold one volume: channels and time points that there is one of.

Other programs write every image as (t, c, z, y, x). Axes of length 1 hold nothing, so such an array is read like one
of (z, y, x). Which axis is which is as declared; three axes that nobody names are z, y, x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import zarr
from zarr.core.buffer import NDBuffer

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.store.arrays import AXES

_KNOWN: Final = {*AXES, "t", "time", "c", "channel"}


class Volume(zarr.Array[Any]):
    """An array (z, y, x) that is stored with further axes of length 1. To read only."""

    stored: zarr.Array[Any]
    """The array with all its axes."""
    _places: tuple[int, ...]

    def __init__(self, stored: zarr.Array[Any], places: Sequence[int]) -> None:
        super().__init__(stored._async_array)
        object.__setattr__(self, "stored", stored)
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
        index: list[Any] = [0] * self.stored.ndim
        for place, part in zip(self._places, selection, strict=True):
            index[place] = part
        return tuple(index)

    def _three(self, sides: tuple[int, ...]) -> Shape:
        z, y, x = (sides[place] for place in self._places)
        return z, y, x


def as_volume(array: zarr.Array[Any], axes: Sequence[str] | None, name: str) -> zarr.Array[Any]:
    """Return `array` as one of (z, y, x), whose `axes` are named by its metadata or not (None).

    Raise `InputError` naming the axes when they are others, are in another order, or hold more than one volume.
    """
    shape = array.shape
    axes = axes or _declared(array)
    if axes is None:
        # Nothing says which axis is which: those in front may be of length 1.
        extra = len(shape) - len(AXES)
        if extra < 0 or any(n != 1 for n in shape[:extra]):
            raise InputError(f"{name}: {len(shape)}-dimensional array {shape}; must be 3-dimensional (z, y, x)")
        places: Sequence[int] = range(extra, len(shape))
    else:
        axes = [axis.lower() for axis in axes]
        told = ", ".join(axes)
        if len(axes) != len(shape):
            raise InputError(f"{name}: axes {told} of an array of shape {shape}; mend the metadata")
        if tuple(axis for axis in axes if axis in AXES) != AXES or not set(axes) <= _KNOWN:
            raise InputError(f"{name}: axes {told}; must be z, y, x; export one channel and time point as z, y, x")
        if any(n != 1 for axis, n in zip(axes, shape, strict=True) if axis not in AXES):
            raise InputError(
                f"{name}: axes {told} of {shape} voxels; must be z, y, x, with 1 channel and time point; export one "
                "as z, y, x"
            )
        places = [axes.index(axis) for axis in AXES]
    return array if tuple(places) == (0, 1, 2) and len(shape) == 3 else Volume(array, places)


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
