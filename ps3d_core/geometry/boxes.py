"""Axis-aligned boxes of voxels: the one way this project says "this part of a volume"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

Shape = tuple[int, int, int]


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as people write it: 40 x 30 x 20."""
    return " x ".join(map(str, shape))


def turned(shape: Shape, axis: int) -> Shape:
    """Return the shape that a volume of `shape` has after `numpy.swapaxes(volume, 0, axis)`.

    Axis `axis` comes first, z in its place. Turning twice about the same axis changes nothing.
    """
    sides = list(shape)
    sides[0], sides[axis] = sides[axis], sides[0]
    return _shape(tuple(sides))


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open box of voxels, axes (z, y, x): `start` is inside, `stop` is not."""

    start: Shape
    stop: Shape

    @classmethod
    def of(cls, shape: Shape) -> Box:
        """Return the box that covers a whole volume of `shape`."""
        return cls((0, 0, 0), shape)

    @property
    def shape(self) -> Shape:
        """Extent of the box per axis in voxels; never negative."""
        z, y, x = (max(0, stop - start) for start, stop in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels in the box."""
        return prod(self.shape)

    @property
    def is_empty(self) -> bool:
        """Flag that is true when no voxel is inside the box."""
        return self.size == 0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the voxels of the box in an array of the whole volume."""
        (z0, y0, x0), (z1, y1, x1) = self.start, self.stop
        return slice(z0, z1), slice(y0, y1), slice(x0, x1)

    def grow(self, halo: int | Shape, within: Shape) -> Box:
        """Return this box with `halo` voxels more on every side, clipped to a volume of shape `within`."""
        margin = (halo, halo, halo) if isinstance(halo, int) else halo
        start = tuple(max(0, s - h) for s, h in zip(self.start, margin, strict=True))
        stop = tuple(min(n, s + h) for s, h, n in zip(self.stop, margin, within, strict=True))
        return Box(_shape(start), _shape(stop))

    def intersect(self, other: Box) -> Box:
        """Return the box of the voxels in both boxes; an empty one (all zero) when there are none."""
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(min, self.stop, other.stop))
        if any(a >= b for a, b in zip(start, stop, strict=True)):
            return Box((0, 0, 0), (0, 0, 0))
        return Box(_shape(start), _shape(stop))

    def around(self, other: Box) -> Box:
        """Return the smallest box that holds both boxes, of which none is empty."""
        start, stop = map(min, self.start, other.start), map(max, self.stop, other.stop)
        return Box(_shape(tuple(start)), _shape(tuple(stop)))

    def shift(self, by: Shape) -> Box:
        """Return this box moved by `by` voxels."""
        start = tuple(s + d for s, d in zip(self.start, by, strict=True))
        stop = tuple(s + d for s, d in zip(self.stop, by, strict=True))
        return Box(_shape(start), _shape(stop))

    def relative_to(self, other: Box) -> Box:
        """Return this box in the coordinates of an array that holds `other`."""
        z, y, x = other.start
        return self.shift((-z, -y, -x))

    def slabs(self, depth: int) -> Iterator[Box]:
        """Yield this box in order of z, cut where z is a multiple of `depth`."""
        (z, y, x), (stop, stop_y, stop_x) = self.start, self.stop
        while z < stop:
            end = min(stop, (z // depth + 1) * depth)
            yield Box((z, y, x), (end, stop_y, stop_x))
            z = end

    def turned(self, axis: int) -> Box:
        """Return this box in a volume whose axes z and `axis` are swapped, see the function `turned`."""
        return Box(turned(self.start, axis), turned(self.stop, axis))


def _shape(values: tuple[int, ...]) -> Shape:
    z, y, x = values
    return z, y, x
