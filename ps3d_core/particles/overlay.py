"""Pictures of a result: three orthogonal slices through the scan's middle, particles outlined over grey values.

Grey values and outlines are separate pictures of one frame, laid over each other by whoever shows them, so outlines
can be switched off and both compress well. Only the slices are read, band by band; slices larger than the picture
are reduced (grey values averaged, labels sampled), and a full-resolution window of the middle is added. A particle's
colour follows from its label alone: it is the same in every slice and every run. Where voxels are no cubes, pixels are
made as square as whole numbers of voxels allow; whoever shows a picture does so in its `proportions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, TypeVar, cast

import imagecodecs
import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import StatedSpacing, per_axis, relative_spacing
from ps3d_core.store.arrays import read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

MAX_SIDE: Final = 640
"""Longest side of a picture's grey values in pixels."""
PNG_LEVEL: Final = 6
"""Of compression: 9 takes four times as long and saves 2 %."""

_AXES: Final = "zyx"
_BAND: Final = 256
_MAX_MAGNIFICATION: Final = 4
_CONTRAST_PERCENTILES: Final = (0.5, 99.5)
_GOLDEN: Final = 0.6180339887498949

Grey = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Confidence = npt.NDArray[np.float64]
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Picture:
    """One slice. Both PNG files show the same frame, perhaps with different numbers of pixels."""

    axis: str  # the slice is perpendicular to this axis: "z", "y" or "x"
    index: int  # voxel index along it
    box: Box  # voxels shown
    steps: tuple[int, int]  # voxels per pixel of grey values, down and to the right
    is_window: bool  # shows a part of the slice only
    grey: bytes | None  # PNG, 8-bit grey; None without an image
    outlines: bytes  # PNG, RGBA: outlines, or filled particles where there is no image
    doubt: bytes | None = None  # PNG, RGBA: particles in the colour of their confidence; None where none is known
    edges: tuple[float, float] = (1.0, 1.0)  # of a voxel, down and to the right, in units of their mean

    @property
    def step(self) -> int:
        """Voxels per pixel of grey values, along the side where these are more."""
        return max(self.steps)

    @property
    def down(self) -> str:
        """Axis that runs down the picture."""
        return "y" if self.axis == "z" else "z"

    @property
    def right(self) -> str:
        """Axis that runs to the right."""
        return "y" if self.axis == "x" else "x"

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the frame in voxels."""
        return self.box.shape[_AXES.index(self.down)], self.box.shape[_AXES.index(self.right)]

    @property
    def proportions(self) -> tuple[float, float]:
        """Height and width of the frame as lengths, in edges of the cube that has the volume of a voxel."""
        (height, width), (down, right) = self.extent, self.edges
        return height * down, width * right


def overlay_pictures(
    labels: Location,
    image: Location | None,
    *,
    spacing: StatedSpacing = 1.0,
    max_side: int = MAX_SIDE,
    confidence: Confidence | None = None,
) -> list[Picture]:
    """Return pictures of slices perpendicular to z, y and x through the middle.

    After the first comes its middle in full resolution, if it was reduced. Grey values are stretched between robust
    limits that all pictures share. `confidence` is by label, that of label 0 first;
    `spacing` are the edges of a voxel, in any unit.
    """
    shape = cast(Shape, open_image(labels).shape)
    boxes = [(axis, _slice_box(shape, axis)) for axis in range(3)]
    if max(_steps(boxes[0][1], 0, spacing, max_side)) > 1:
        boxes.insert(1, (0, _window(boxes[0][1], spacing, max_side)))
    return pictures_of(boxes, labels, image, spacing=spacing, max_side=max_side, confidence=confidence)


def pictures_of(
    boxes: Sequence[tuple[int, Box]],
    labels: Location,
    image: Location | None,
    *,
    spacing: StatedSpacing = 1.0,
    max_side: int = MAX_SIDE,
    confidence: Confidence | None = None,
) -> list[Picture]:
    """Return a picture of every one of `boxes`, each one voxel thick along its axis (0 is z), all of one contrast.

    `spacing` are the edges of a voxel, in any unit.
    """
    label_array = open_image(labels)
    image_array = None if image is None else open_image(image)
    shape = cast(Shape, label_array.shape)
    greys = [
        None if image_array is None else _read(image_array, box, axis, _steps(box, axis, spacing, max_side), mean=True)
        for axis, box in boxes
    ]
    limits = _contrast([grey for grey in greys if grey is not None])
    pictures = []
    for (axis, box), grey in zip(boxes, greys, strict=True):
        steps, edges = _steps(box, axis, spacing, max_side), _in_plane(relative_spacing(spacing), axis)
        plane = _read(label_array, box, axis, steps, mean=False)
        pixel = steps[0] * edges[0], steps[1] * edges[1]
        pictures.append(
            Picture(
                axis=_AXES[axis],
                index=box.start[axis],
                box=box,
                steps=steps,
                edges=edges,
                is_window=box != _slice_box(shape, axis),
                grey=None if grey is None else _png(_stretch(grey, limits)),
                outlines=_png(_outlines(plane, max_side, pixel, filled=grey is None)),
                doubt=None if confidence is None else _png(_doubt(plane, confidence)),
            )
        )
    return pictures


def grey_pictures(planes: Sequence[npt.NDArray[Any]], max_side: int) -> list[bytes]:
    """Return slices in memory, (rows, columns) each, as grey PNG files of at most `max_side` pixels a side."""
    steps = [ceil(max(plane.shape) / max_side) for plane in planes]
    greys = [_reduce(plane, (step, step), mean=True) for plane, step in zip(planes, steps, strict=True)]
    limits = _contrast(greys)
    return [_png(_stretch(grey, limits)) for grey in greys]


def plane_pictures(
    greys: Sequence[Grey], labels: Sequence[npt.NDArray[Any]], max_side: int
) -> list[tuple[bytes, bytes]]:
    """Return grey values and outlines of slices in memory, (rows, columns) each, as PNG files, all of one contrast."""
    limits = _contrast(greys)
    return [
        (_png(_stretch(grey, limits)), _png(_outlines(plane, max_side, (1.0, 1.0), filled=False)))
        for grey, plane in zip(greys, labels, strict=True)
    ]


def label_colours(labels: npt.NDArray[np.integer]) -> Bytes:
    """Return bright colours (..., 3) of labels, uint8.

    Neighbouring labels get hues far apart on the colour circle.
    """
    wide = labels.astype(np.float64)
    hue = 6 * (wide * _GOLDEN % 1.0)
    saturation = 0.65 + 0.35 * (wide * _GOLDEN**2 * 7 % 1.0)
    offsets = np.array([5.0, 3.0, 1.0])
    ramp = (offsets + hue[..., None]) % 6
    value = 1 - saturation[..., None] * np.clip(np.minimum(ramp, 4 - ramp), 0, 1)
    colours: Bytes = np.rint(255 * value).astype(np.uint8)
    return colours


def _doubt(plane: npt.NDArray[Any], confidence: Confidence) -> Bytes:
    """RGBA of particles: from green for what is certain, by yellow, to red at a confidence of one half and less."""
    found = plane > 0
    doubt = np.clip(2 * (1 - confidence[plane[found]]), 0, 1)
    picture = np.zeros((*plane.shape, 4), np.uint8)
    picture[found, 0] = np.rint(255 * np.clip(2 * doubt, 0, 1))
    picture[found, 1] = np.rint(200 * np.clip(2 - 2 * doubt, 0, 1))
    picture[found, 3] = np.rint(90 + 110 * doubt)
    return picture


def slice_of(box: Box, axis: int, index: int) -> Box:
    """Return the part of a box that is one voxel thick along an axis (0 is z), at this index of the volume."""
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = index, index + 1
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _slice_box(shape: Shape, axis: int) -> Box:
    return slice_of(Box.of(shape), axis, shape[axis] // 2)


def _window(box: Box, spacing: StatedSpacing, side: int) -> Box:
    """The middle of `box`, as long as at most `side` of the shorter voxels' edges in a slice across z."""
    edges = per_axis(spacing)
    sides = [max(1, int(side * min(edges[1:]) / edge)) for edge in edges]
    start = [s + max(0, n - most) // 2 for s, n, most in zip(box.start, box.shape, sides, strict=True)]
    stop = [s + min(n, most) for s, n, most in zip(start, box.shape, sides, strict=True)]
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _in_plane(values: tuple[Number, Number, Number], axis: int) -> tuple[Number, Number]:
    """Two of three values (z, y, x): those down and to the right of a slice perpendicular to an axis."""
    down, right = (each for own, each in enumerate(values) if own != axis)
    return down, right


def _steps(box: Box, axis: int, spacing: StatedSpacing, max_side: int) -> tuple[int, int]:
    """Voxels per pixel down and to the right, so that pixels are about square and a picture at most `max_side` long."""
    edges = _in_plane(per_axis(spacing), axis)
    shortest = min(edges)
    sides = [n * (edge / shortest) for n, edge in zip(_in_plane(box.shape, axis), edges, strict=True)]
    step = ceil(max(sides) / max_side)
    down, right = (max(1, int(step * (shortest / edge))) for edge in edges)
    return down, right


def _read(array: zarr.Array[Any], box: Box, axis: int, steps: tuple[int, int], *, mean: bool) -> npt.NDArray[Any]:
    """A slice as (rows, columns), some x some voxels made one: their mean, or the middle one."""
    row_axis = 1 if axis == 0 else 0
    bands = []
    band = ceil(_BAND / steps[0]) * steps[0]
    for top in range(box.start[row_axis], box.stop[row_axis], band):
        start, stop = list(box.start), list(box.stop)
        start[row_axis], stop[row_axis] = top, min(top + band, box.stop[row_axis])
        part = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        bands.append(_reduce(read_box(array, part).squeeze(axis), steps, mean=mean))
    return np.concatenate(bands)


def _reduce(plane: npt.NDArray[Any], steps: tuple[int, int], *, mean: bool) -> npt.NDArray[Any]:
    if not mean:
        # The middle voxel of each cell; the last cell may be cut.
        rows, columns = (
            np.minimum(np.arange(0, n, step) + step // 2, n - 1) for n, step in zip(plane.shape, steps, strict=True)
        )
        return plane[np.ix_(rows, columns)]
    edges = [np.arange(0, n, step) for n, step in zip(plane.shape, steps, strict=True)]
    sums = np.add.reduceat(np.add.reduceat(plane.astype(np.float64), edges[0], axis=0), edges[1], axis=1)
    sizes = [np.diff(np.append(edge, n)) for edge, n in zip(edges, plane.shape, strict=True)]
    return (sums / np.outer(*sizes)).astype(np.float32)


def _contrast(planes: Sequence[Grey]) -> tuple[float, float]:
    values = np.concatenate([plane.ravel() for plane in planes]) if planes else np.empty(0, np.float32)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, _CONTRAST_PERCENTILES))
    return low, high if high > low else low + 1.0


def _stretch(plane: Grey, limits: tuple[float, float]) -> Bytes:
    low, high = limits
    scaled = (plane.astype(np.float64) - low) / (high - low)
    return np.rint(255 * np.clip(np.nan_to_num(scaled), 0, 1)).astype(np.uint8)


def _outlines(plane: npt.NDArray[Any], max_side: int, pixel: tuple[float, float], *, filled: bool) -> Bytes:
    """RGBA of the particles' outermost pixels. Small slices are magnified first, so that lines stay thin.

    `pixel` are the lengths of one down and to the right; it is made about square, so that lines are as thick both ways.
    """
    longer = [length / min(pixel) for length in pixel]
    side = max(n * times for n, times in zip(plane.shape, longer, strict=True))
    magnified = min(_MAX_MAGNIFICATION, max(1, int(max_side // side)))
    down, right = (round(magnified * times) for times in longer)
    plane = plane.repeat(down, axis=0).repeat(right, axis=1)
    thickness = 1 if min(down, right) == 1 else 2
    inside = plane > 0
    for _ in range(thickness):
        inside = _without_edge(inside, plane)
    shown = (plane > 0) & (filled | ~inside)
    picture = np.zeros((*plane.shape, 4), np.uint8)
    picture[shown, :3] = label_colours(plane[shown])
    picture[shown, 3] = 255
    return picture


def _without_edge(inside: npt.NDArray[np.bool_], plane: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """`inside` without the pixels that have a neighbour of another label or outside."""
    kept = inside.copy()
    for axis in range(2):
        ahead = [slice(None), slice(None)]
        behind = [slice(None), slice(None)]
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        a, b = tuple(ahead), tuple(behind)
        same = plane[a] == plane[b]
        kept[a] &= same & inside[b]
        kept[b] &= same & inside[a]
    return kept


def _png(pixels: Bytes) -> bytes:
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=PNG_LEVEL))
