"""OME-Zarr images: the group around an array that tells viewers its axes, spacing and resolution levels.

Level 0 of an image is the array at `image/0`; levels 1, 2, ... are halved copies for viewing, nothing computes on
them. All metadata goes through the models of ome-zarr-models, on the way out and on the way in. The group's own
zarr.json is one file and is written last, so a group that can be opened is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr
from ome_zarr_models.common.coordinate_transformations import VectorScale
from ome_zarr_models.v04.image import ImageAttrs as ImageAttrs04
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import ImageAttrs as ImageAttrs05
from ome_zarr_models.v05.image_label import ImageLabelAttrs
from ome_zarr_models.v05.image_label_types import Color, Label
from ome_zarr_models.v05.multiscales import Dataset as Level
from ome_zarr_models.v05.multiscales import Multiscale
from pydantic import ValidationError
from zarr.errors import NodeNotFoundError

from ps3d_core.blockwise import Runner, run_blocks
from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import (
    AXES,
    UNUSABLE,
    create_array,
    ensure_array,
    open_array,
    read_box,
    shard_shape,
    what_is_wrong,
    write_box,
)
from ps3d_core.store.halving import VIEWABLE, Method, halve, level_shapes, method_for
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location

Spacing = tuple[float, float, float]
ImageAttrs = ImageAttrs04 | ImageAttrs05

GROUP_FILE: Final = "zarr.json"
PYRAMID_VERSION: Final = 1
"""Raise when a change of the code changes the coarser levels: finished work of older code is then redone."""
LONGEST_PATH: Final = 255
"""Bytes of a level's path within its image."""
_MM: Final = {
    "angstrom": 1e-7,
    "nanometer": 1e-6,
    "micrometer": 1e-3,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "decimeter": 100.0,
    "meter": 1000.0,
    "inch": 25.4,
}


def create_image(
    location: Location,
    shape: Shape,
    dtype: npt.DTypeLike,
    *,
    spacing: float | Spacing | None,
    name: str,
    label: bool = False,
    overwrite: bool = False,
    chunks: Shape | None = None,
    shards: Shape | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> zarr.Array[Any]:
    """Make an OME-Zarr 0.5 image with one resolution level; return its array (level 0), writable.

    `spacing` is in mm, one value or one per axis; None writes an image without units. `label` marks a label image,
    whose dtype must be an integer. `attributes` are stored beside the OME metadata. `InputError` when something is
    already at `location` and `overwrite` is not set.
    """
    if label and np.dtype(dtype).kind not in "iu":
        raise InputError(f"{location}: dtype {np.dtype(dtype)} for labels; OME-Zarr allows integers only")
    if not overwrite and _is_taken(location):
        raise InputError(f"{location}: already exists; remove it or choose another place")
    (location / GROUP_FILE).remove_tree()  # first, so that what an interruption leaves is no image
    location.remove_tree()
    array = create_array(location / "0", shape, dtype, chunks=chunks, shards=shards)
    write_metadata(location, [shape], spacing=spacing, name=name, label=label, attributes=attributes)
    return array


def open_image(location: Location, *, writable: bool = False) -> zarr.Array[Any]:
    """The full-resolution array (z, y, x) of an OME-Zarr 0.4 or 0.5 image, or the bare Zarr v2 or v3 array there.

    Arrays that this project wrote raise `MissingDataError` for an absent chunk; in foreign arrays, whose writers may
    leave out empty chunks, an absent chunk is the fill value. `InputError` for anything that is not a 3-D image, and
    for metadata that cannot be used.
    """
    node = _open_node(location)
    if isinstance(node, zarr.Group):
        image, location = location, _levels(location, node)[0]
        node = _open_level(image, location)
    if not isinstance(node, zarr.Array):
        raise InputError(f"{location}: a Zarr group where an array is expected; mend the OME-Zarr metadata")
    if node.ndim != len(AXES):
        raise InputError(f"{location}: {node.ndim}-dimensional array {node.shape}; must be 3-dimensional (z, y, x)")
    if 0 in node.chunks:
        raise _unusable(location, f"chunks of {node.chunks} voxels")
    if writable or _is_ours(node):
        return open_array(location, writable=writable)
    return node


def image_levels(location: Location) -> list[Location]:
    """The arrays of an image's resolution levels, the finest first; a bare array is its own only level.

    `InputError` for anything that is not an image (z, y, x).
    """
    node = _open_node(location)
    return _levels(location, node) if isinstance(node, zarr.Group) else [location]


def image_spacing(location: Location) -> Spacing | None:
    """Spacing (z, y, x) of level 0 in mm from OME metadata; None where there is none or a unit is not a length."""
    node = _open_node(location)
    if not isinstance(node, zarr.Group):
        return None
    multiscale = _image_attributes(location, node).multiscales[0]
    scale = np.ones(len(multiscale.axes))
    for transforms in (multiscale.datasets[0].coordinateTransformations, multiscale.coordinateTransformations or ()):
        for transform in transforms:
            if isinstance(transform, VectorScale):
                scale *= transform.scale
    units = {str(axis.name).lower(): _MM.get(str(axis.unit)) for axis in multiscale.axes}
    factors = dict(zip(units, scale.tolist(), strict=True))
    spacing = [factors[axis] * unit for axis in AXES if (unit := units.get(axis)) is not None]
    return (spacing[0], spacing[1], spacing[2]) if len(spacing) == len(AXES) else None


def is_label_image(location: Location) -> bool:
    """True when OME metadata says that the voxels are ids."""
    node = _open_node(location)
    if not isinstance(node, zarr.Group):
        return False
    return "image-label" in (_image_attributes(location, node).model_extra or {})


def image_attributes(location: Location) -> dict[str, Any]:
    """What the group's metadata say, OME's and others'; nothing where there is no image, or a damaged one."""
    try:
        attributes = (location / GROUP_FILE).read_json()["attributes"]
    except (InputError, MissingDataError, LookupError, TypeError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def write_metadata(
    location: Location,
    shapes: Sequence[Shape],
    *,
    spacing: float | Spacing | None,
    name: str,
    label: bool = False,
    method: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write or replace the group's metadata for levels "0", "1", ... of these `shapes`, in one step.

    Each level halves the one before (rounding up), so voxel i of level k covers voxels i * 2^k ... of level 0 and its
    centre lies (2^k - 1) / 2 level-0 voxels further; `method` says how the values were reduced.
    """
    unit = None if spacing is None else "millimeter"
    size = (spacing,) * 3 if isinstance(spacing, float | int) else spacing or (1.0, 1.0, 1.0)
    if not all(np.isfinite(size)) or min(size) <= 0:
        raise InputError(f"spacing {spacing} mm: must be positive; give the edge of a voxel in mm")
    multiscale = Multiscale(
        axes=tuple(Axis(name=axis, type="space", unit=unit) for axis in AXES),
        datasets=tuple(_level(index, shapes, size) for index in range(len(shapes))),
        name=name,
        type=method,
    )
    attrs: ImageLabelAttrs | ImageAttrs05
    if label:
        # One colour entry is required by the strict schema: background is transparent, the rest is the viewer's.
        colors = (Color.model_validate({"label-value": 0, "rgba": (0, 0, 0, 0)}),)
        attrs = ImageLabelAttrs.model_validate(
            {"version": "0.5", "multiscales": [multiscale], "image-label": Label(version="0.5", colors=colors)}
        )
    else:
        attrs = ImageAttrs05(version="0.5", multiscales=[multiscale])
    ome = attrs.model_dump(mode="json", by_alias=True, exclude_none=True)
    (location / GROUP_FILE).write_json(
        {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, **(attributes or {})}}
    )


def build_pyramid(
    location: Location,
    *,
    label: bool | None = None,
    viewable: int = VIEWABLE,
    runner: Runner | None = None,
    progress: Progress = SILENT,
    ledger: Ledger | None = None,
) -> list[Shape]:
    """Add the coarser levels 1, 2, ... to an image of this project until all sides are below `viewable` voxels.

    Blocks are single shards: one reads 256^3 voxels at most. `label` says that ids must not be averaged; None takes
    it from the metadata. With a `ledger` an interrupted call goes on where it was. Returns the shapes of all levels.
    """
    group = _open_node(location)
    if not isinstance(group, zarr.Group) or "ome" not in group.attrs:
        raise InputError(f"{location}: not an OME-Zarr 0.5 image; coarser levels can only be added to one")
    base = open_image(location)
    label = is_label_image(location) if label is None else label
    method = method_for(base.dtype, label=label)
    shapes = level_shapes(cast(Shape, base.shape), viewable)
    own = location / ".pyramid"
    own.remove_tree()
    ledger = ledger or Ledger(own, "pyramid", fingerprint(PYRAMID_VERSION, shapes, method))
    for level, shape in list(enumerate(shapes))[1:]:
        finished = Ledger(ledger.root, f"{ledger.stage}-{level}", ledger.fingerprint)
        if ensure_array(location / str(level), shape, base.dtype):
            finished.clear()
        blocks = BlockGrid(shape, shard_shape(shape))
        work = _HalveBlock(location, level, method)
        run_blocks(f"pyramid {level}", list(blocks), work, ledger=finished, runner=runner, progress=progress)
    write_metadata(
        location,
        shapes,
        spacing=image_spacing(location),
        name=str(_image_attributes(location, group).multiscales[0].name or location.name),
        label=label,
        method=method,
        attributes={key: value for key, value in group.attrs.asdict().items() if key != "ome"},
    )
    own.remove_tree()
    return shapes


@dataclass(frozen=True, slots=True)
class _HalveBlock:
    image: Location
    level: int
    method: Method

    def __call__(self, block: Block) -> Record:
        finer = open_array(self.image / str(self.level - 1))
        z, y, x = (2 * n for n in block.core.start)
        stop_z, stop_y, stop_x = (2 * n for n in block.core.stop)
        source = Box((z, y, x), (stop_z, stop_y, stop_x)).intersect(Box.of(cast(Shape, finer.shape)))
        coarser = open_array(self.image / str(self.level), writable=True)
        write_box(coarser, block.core, halve(read_box(finer, source), self.method))
        return {}


def _is_taken(location: Location) -> bool:
    # Prefixes of an object store may outlive their objects, and what a crash left there is no image yet.
    return location.exists() if location.local_path is not None else (location / GROUP_FILE).exists()


def _level(index: int, shapes: Sequence[Shape], spacing: Spacing) -> Level:
    # A side of one voxel is not halved any more: its factor stays.
    factors = [1, 1, 1]
    for shape in shapes[:index]:
        factors = [f if n == 1 else 2 * f for f, n in zip(factors, shape, strict=True)]
    scale = [s * f for s, f in zip(spacing, factors, strict=True)]
    shift = [s * (f - 1) / 2 for s, f in zip(spacing, factors, strict=True)]
    return Level.build(path=str(index), scale=scale, translation=shift)


def _open_node(location: Location) -> zarr.Array[Any] | zarr.Group:
    if not location.exists():
        raise MissingDataError(f"{location}: nothing there; check the path")
    try:
        return zarr.open(location.zarr_store(read_only=True), mode="r")
    except (NodeNotFoundError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{location}: not a Zarr array or OME-Zarr image; give one, or ingest the scan") from error
    except UNUSABLE as error:
        raise _unusable(location, what_is_wrong(error)) from error


def _open_level(image: Location, level: Location) -> zarr.Array[Any] | zarr.Group:
    try:
        return _open_node(level)
    except MissingDataError as error:
        raise _unusable(image, f"nothing at {level}, where level 0 should be") from error


def _unusable(location: Location, reason: str) -> InputError:
    return InputError(f"{location}: metadata of the Zarr cannot be used ({reason}); restore or export it again")


def _image_attributes(location: Location, group: zarr.Group) -> ImageAttrs:
    try:
        attributes = group.attrs.asdict()
        if "ome" in attributes:
            return ImageAttrs05.model_validate(attributes["ome"])
        return ImageAttrs04.model_validate(attributes)
    except ValidationError as error:
        first = error.errors()[0]
        where = " / ".join(map(str, first["loc"]))
        raise InputError(
            f"{location}: a Zarr group but not an OME-Zarr 0.4 or 0.5 image ({where}: {first['msg']}); "
            "give an image, or the array inside the group"
        ) from error
    except UNUSABLE as error:
        raise _unusable(location, what_is_wrong(error)) from error


def _levels(location: Location, group: zarr.Group) -> list[Location]:
    multiscale = _image_attributes(location, group).multiscales[0]
    axes = tuple(str(axis.name).lower() for axis in multiscale.axes)
    if axes != AXES:
        raise InputError(f"{location}: axes {axes}; must be z, y, x; export one channel and time point as z, y, x")
    return [location / _checked_path(location, dataset.path) for dataset in multiscale.datasets]


def _checked_path(location: Location, path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path:
        raise InputError(f"{location}: level 0 lies at {path!r}; must be inside the image; mend the OME-Zarr metadata")
    if not path.isprintable() or len(path.encode()) > LONGEST_PATH:
        raise _unusable(location, f"level 0 lies at {path[:40]!r}, which is no usable name")
    return path


def _is_ours(array: zarr.Array[Any]) -> bool:
    # Our arrays end every chunk in a checksum and hold all chunks; the codec is the mark that survives copying.
    if array.metadata.zarr_format == 2 or array.shards is None:
        return False
    return any(type(codec).__name__ == "Crc32cCodec" for codec in array.compressors)
