"""OME-Zarr images: the group around an array that tells viewers its axes, spacing and resolution levels.

Level 0 of an image is the array at `image/0`; levels 1, 2, ... are halved copies for viewing, nothing computes on
them. All metadata goes through the models of ome-zarr-models, on the way out and on the way in. The group's own
zarr.json is one file and is written last, so a group that can be opened is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr
from ome_zarr_models.common.coordinate_transformations import VectorScale, VectorTranslation
from ome_zarr_models.v04.multiscales import Multiscale as Multiscale04
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import ImageAttrs as ImageAttrs05
from ome_zarr_models.v05.image_label import ImageLabelAttrs
from ome_zarr_models.v05.image_label_types import Color, Label
from ome_zarr_models.v05.multiscales import Dataset as Level
from ome_zarr_models.v05.multiscales import Multiscale
from zarr.errors import NodeNotFoundError

from ps3d_core.errors import InputError, MissingDataError, Ps3dError
from ps3d_core.geometry import spacing as geometry_spacing
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import StatedSpacing, per_axis, per_axis_text
from ps3d_core.store.arrays import (
    AXES,
    UNUSABLE,
    create_array,
    is_ours,
    open_array,
    to_read,
    what_is_wrong,
)
from ps3d_core.store.claim import Output, require_ours
from ps3d_core.store.guarded import EMPTIED, Reading
from ps3d_core.store.location import Location
from ps3d_core.store.ome_metadata import all_of, channel_labels, image_attributes, unusable, version_without_scales
from ps3d_core.store.ownership import MARK, ZARR_FILES, is_own, mark_own, remove_own, unmark, zarr_is_own
from ps3d_core.store.volume import NOTHING_CHOSEN, Chosen, as_volume
from ps3d_core.version import __version__

Spacing = geometry_spacing.Spacing

GROUP_FILE: Final = "zarr.json"
LONGEST_PATH: Final = 255
"""Bytes of a level's path within its image."""
_MM: Final = {
    name: factor
    for names, factor in (
        ("angstrom Å Å", 1e-7),
        ("nanometer nm", 1e-6),
        ("micrometer micron um \u00b5m \u03bcm", 1e-3),
        ("millimeter mm", 1.0),
        ("centimeter cm", 10.0),
        ("decimeter dm", 100.0),
        ("meter m", 1000.0),
        ("inch in", 25.4),
    )
    for name in names.split()
}
_NOWHERE: Final = (0.0, 0.0, 0.0)
SERIES: Final = "bioformats2raw.layout"
"""Attribute of a folder in which bioformats2raw put images 0, 1, ..."""


def create_image(
    location: Location,
    shape: Shape,
    dtype: npt.DTypeLike,
    *,
    spacing: StatedSpacing | None,
    name: str,
    label: bool = False,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
    **grid: Any,
) -> zarr.Array[Any]:
    """Make an OME-Zarr 0.5 image with one resolution level; return its array (level 0), writable.

    `spacing` is in mm, one value or one per axis; None writes an image without units. `label` marks a label image,
    whose dtype must be an integer. `attributes` are stored beside the OME metadata; `grid` is `chunks` and `shards` of
    `create_array`. Raise `InputError` when something is already at `location` and `overwrite` is not set, and when what
    is there is not ps3d's.
    """
    if label and np.dtype(dtype).kind not in "iu":
        raise InputError(f"{location}: dtype {np.dtype(dtype)} for labels; OME-Zarr allows integers only")
    require_ours(Output(location, zarr_is_own))
    if (location / GROUP_FILE).exists() and not overwrite:
        raise InputError(f"{location}: already exists; remove it or choose another place")
    mark_own(location)  # first, so that what an interruption leaves is ours, and no image
    (location / GROUP_FILE).remove_tree()
    remove_own(location, ZARR_FILES)
    mark_own(location)
    array = create_array(location / "0", shape, dtype, **grid)
    write_metadata(location, [shape], spacing=spacing, name=name, label=label, attributes=attributes)
    unmark(location)
    return array


def is_whole(location: Location) -> bool:
    """Return whether `create_image` has made an image at `location` to its end."""
    return (location / GROUP_FILE).exists() and not is_own(location)


def open_image(location: Location, *, writable: bool = False, chosen: Chosen = NOTHING_CHOSEN) -> zarr.Array[Any]:
    """Return the full-resolution array (z, y, x) of an OME-Zarr 0.1 to 0.5 image, or a bare Zarr v2 or v3 array.

    Further axes are left out where they are of length 1, or one channel or point in time is `chosen`. Arrays that this
    project wrote raise `MissingDataError` for an absent chunk; in foreign arrays, whose writers may leave out empty
    chunks, an absent chunk is the fill value, unless all are absent. Raise `InputError` for anything that is not a 3-D
    image, and for metadata that cannot be used.
    """
    location, node = _open_node(location)
    axes: list[str] | None = None
    labels: tuple[str, ...] = ()
    if isinstance(node, zarr.Group):
        image, multiscale, labels = location, _multiscale(location, node), channel_labels(node)
        axes = _axes(multiscale)
        location, node = _open_level(image, _levels(image, multiscale)[0])
    if not isinstance(node, zarr.Array):
        raise InputError(f"{location}: a Zarr group where an array is expected; mend the OME-Zarr metadata")
    if writable:
        return open_array(location, writable=True)
    array = to_read(node, location, complete=is_ours(node), remedy=EMPTIED)
    return as_volume(array, axes, str(location), chosen, labels)


def image_levels(location: Location) -> list[Location]:
    """Return the arrays of an image's resolution levels, the finest first; a bare array is its own only level.

    Raise `InputError` for anything that is not an image (z, y, x).
    """
    location, node = _open_node(location)
    return _levels(location, _multiscale(location, node)) if isinstance(node, zarr.Group) else [location]


def image_spacing(location: Location) -> Spacing | None:
    """Return the spacing (z, y, x) of level 0 in mm from OME metadata; None without one or with a unit of no length.

    Raise `InputError` for a scale that no voxel can have.
    """
    location, node = _open_node(location)
    return _spacing(location, _multiscale(location, node)) if isinstance(node, zarr.Group) else None


def unused_scale(location: Location) -> str | None:
    """Return a note about a scale of level 0 that is no spacing, as its unit is none of length; else None."""
    location, node = _open_node(location)
    if not isinstance(node, zarr.Group):
        return None
    sides, _, units = _as_said(location, _multiscale(location, node))
    if all(map(_in_mm, units)) or (not any(units) and all(side == 1 for side in sides)):
        return None
    said = "/".join(dict.fromkeys(str(unit)[:20] for unit in units if unit)) or "without a unit"
    return f"its scale {', '.join(f'{side:g}' for side in sides)} {said} (z, y, x) is not used: not a unit of length"


def image_origin(location: Location) -> Spacing:
    """Return where OME metadata put the centre of the first voxel of level 0, (z, y, x).

    In mm where there is a spacing, else in voxels. 0 along all axes without such metadata, and where they do not say in
    which unit. Raise `InputError` for a translation that is not finite.
    """
    location, node = _open_node(location)
    if not isinstance(node, zarr.Group):
        return _NOWHERE
    sides, shifts, said = _as_said(location, _multiscale(location, node))
    units = [_in_mm(unit) for unit in said]
    if not any(units) and all(side == 1 for side in sides):
        units = [1.0] * len(AXES)
    if None in units:
        return _NOWHERE
    z, y, x = (shift * (unit or 0) for shift, unit in zip(shifts, units, strict=True))
    if not all(isfinite(value) for value in (z, y, x)):
        raise InputError(f"{location}: a translation of {[z, y, x]} in its OME metadata; must be finite; mend it")
    return z, y, x


def image_place(location: Location) -> Location:
    """Return where the image lies that `location` names: below it, when it is a folder that bioformats2raw made."""
    return _open_node(location)[0]


def without_scales(location: Location) -> str | None:
    """Return the version of OME-Zarr that an image is of, if that is one that keeps no spacing: 0.1, 0.2 or 0.3."""
    _, node = _open_node(location)
    return version_without_scales(node) if isinstance(node, zarr.Group) else None


def image_channels(location: Location) -> tuple[str, ...]:
    """Return what an image's metadata call its channels, in order; empty where they do not say."""
    _, node = _open_node(location)
    return channel_labels(node) if isinstance(node, zarr.Group) else ()


def is_label_image(location: Location) -> bool:
    """Return whether OME metadata says that the voxels are ids."""
    location, node = _open_node(location)
    if not isinstance(node, zarr.Group):
        return False
    return "image-label" in (image_attributes(location, node).model_extra or {})


def is_scan(location: Location) -> bool:
    """Return whether metadata say that the voxels are grey values: the image was ingested, not as labels."""
    location, node = _open_node(location)
    if not isinstance(node, zarr.Group) or is_label_image(location):
        return False
    about = node.attrs.asdict().get("ps3d")
    return isinstance(about, dict) and "ingested" in about


def write_metadata(
    location: Location,
    shapes: Sequence[Shape],
    *,
    spacing: StatedSpacing | None,
    name: str,
    label: bool = False,
    origin: Spacing = (0.0, 0.0, 0.0),
    method: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write or replace the group's metadata for levels "0", "1", ... of these `shapes`, in one step.

    Each level halves the one before (rounding up), so voxel i of level k covers voxels i * 2^k ... of level 0 and its
    centre lies (2^k - 1) / 2 level-0 voxels further. `origin` (z, y, x) is where the centre of the first voxel lies, in
    mm where there is a `spacing`; `method` says how the values were reduced.
    """
    unit = None if spacing is None else "millimeter"
    size = (1.0, 1.0, 1.0) if spacing is None else per_axis(spacing)
    if not all(np.isfinite(size)) or min(size) <= 0:
        raise InputError(f"spacing {per_axis_text(size)} mm: must be positive; give the edge of a voxel in mm")
    multiscale = Multiscale(
        axes=tuple(Axis(name=axis, type="space", unit=unit) for axis in AXES),
        datasets=tuple(_level(index, shapes, size, origin) for index in range(len(shapes))),
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
        {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {"ome": ome, MARK: {"version": __version__}, **(attributes or {})},
        }
    )


def image_name(location: Location) -> str:
    """Return what the metadata of an OME-Zarr image call it, else the name of its folder."""
    location, node = _open_node(location)
    name = _multiscale(location, node).name if isinstance(node, zarr.Group) else None
    return str(name or location.name)


def _level(index: int, shapes: Sequence[Shape], spacing: Spacing, origin: Spacing) -> Level:
    # A side of one voxel is not halved any more: its factor stays.
    factors = [1, 1, 1]
    for shape in shapes[:index]:
        factors = [f if n == 1 else 2 * f for f, n in zip(factors, shape, strict=True)]
    scale = [s * f for s, f in zip(spacing, factors, strict=True)]
    shift = [o + s * (f - 1) / 2 for o, s, f in zip(origin, spacing, factors, strict=True)]
    return Level.build(path=str(index), scale=scale, translation=shift)


def _open_node(location: Location) -> tuple[Location, zarr.Array[Any] | zarr.Group]:
    """Return place and node of what a user names as an image: the one image in a folder that bioformats2raw made."""
    node = _node_at(location)
    if not isinstance(node, zarr.Group):
        return location, node
    attributes = node.attrs.asdict()
    if not isinstance(attributes, dict) or SERIES not in all_of(attributes):
        return location, node
    series = [location / name for name in _numbered(location)]
    if len(series) != 1:
        found = ", ".join(map(str, series[:4])) or "none"
        raise InputError(f"{location}: a folder of {len(series)} images ({found}); give one of them")
    return series[0], _node_at(series[0])


def _numbered(location: Location) -> list[str]:
    """Names of the images in a folder of bioformats2raw; the first two of them where a store lists nothing."""
    if location.is_listed:
        return [name for name in location.children() if name.isdecimal()]
    return [name for name in ("0", "1") if (location / name).is_dir()]


def _node_at(location: Location) -> zarr.Array[Any] | zarr.Group:
    if not location.exists():
        raise MissingDataError(f"{location}: nothing there; check the path")
    try:
        return zarr.open(Reading(location.zarr_store(read_only=True)), mode="r")
    except Ps3dError:
        raise
    except (NodeNotFoundError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{location}: not a Zarr array or OME-Zarr image; give one, or ingest the scan") from error
    except UNUSABLE as error:
        raise unusable(location, what_is_wrong(error)) from error


def _open_level(image: Location, level: Location) -> tuple[Location, zarr.Array[Any] | zarr.Group]:
    try:
        return level, _node_at(level)
    except MissingDataError as error:
        raise unusable(image, f"nothing at {level}, where level 0 should be") from error


def _multiscale(location: Location, group: zarr.Group) -> Multiscale | Multiscale04:
    multiscales = image_attributes(location, group).multiscales
    if len(multiscales) > 1:
        paths = [str(multiscale.datasets[0].path)[:80] for multiscale in multiscales[:8]]
        raise InputError(
            f"{location}: {len(multiscales)} images in one group; give the array of one of them: "
            f"{', '.join(f'{location}/{path}' for path in paths)}"
        )
    return multiscales[0]


def _placed(location: Location, multiscale: Multiscale | Multiscale04) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scale and translation of level 0 along all axes: its own, and those of all levels applied to them.

    Raise `InputError` for those that are not numbers in the metadata.
    """
    steps = (*multiscale.datasets[0].coordinateTransformations, *(multiscale.coordinateTransformations or ()))
    scale, shift = np.ones(len(multiscale.axes)), np.zeros(len(multiscale.axes))
    with np.errstate(all="ignore"):  # what comes of numbers that are not finite is not used
        for transform in steps:
            if isinstance(transform, VectorScale):
                scale, shift = scale * transform.scale, shift * transform.scale
            elif isinstance(transform, VectorTranslation):
                shift = shift + transform.translation
            elif transform.type != "identity":
                raise InputError(
                    f"{location}: a {transform.type} in its OME metadata that lies in an array, which is not read",
                    "give <spacing>",
                    "write it into the metadata",
                )
    return scale, shift


def _as_said(location: Location, multiscale: Multiscale | Multiscale04) -> tuple[list[float], list[float], list[Any]]:
    """Scale, translation and unit of level 0 along z, y and x, as the metadata say them."""
    scale, shift = _placed(location, multiscale)
    places = [_axes(multiscale).index(axis) for axis in AXES]
    units = [multiscale.axes[place].unit for place in places]
    return [float(scale[place]) for place in places], [float(shift[place]) for place in places], units


def _spacing(location: Location, multiscale: Multiscale | Multiscale04) -> Spacing | None:
    scale, _ = _placed(location, multiscale)
    units = dict(zip(_axes(multiscale), (_in_mm(axis.unit) for axis in multiscale.axes), strict=True))
    factors = dict(zip(units, scale.tolist(), strict=True))
    sides = [factors[axis] for axis in AXES if axis in factors]
    if not all(isfinite(side) and side > 0 for side in sides):
        raise InputError(
            f"{location}: a scale of {sides} in its OME metadata; must be finite and above 0",
            "give <spacing>",
            "mend the metadata",
        )
    spacing = [factors[axis] * unit for axis in AXES if (unit := units.get(axis)) is not None]
    return (spacing[0], spacing[1], spacing[2]) if len(spacing) == len(AXES) else None


def _axes(multiscale: Multiscale | Multiscale04) -> list[str]:
    return [str(axis.name).lower() for axis in multiscale.axes]


def _in_mm(unit: Any) -> float | None:
    """The unit in mm, by its name, one of its symbols, in British spelling or as a plural; None for no length."""
    name = str(unit).strip()
    return _MM.get(name) or _MM.get(name.lower().removesuffix("s").replace("metre", "meter"))


def _levels(location: Location, multiscale: Multiscale | Multiscale04) -> list[Location]:
    axes = _axes(multiscale)
    if tuple(axis for axis in axes if axis in AXES) != AXES:
        raise InputError(f"{location}: axes {', '.join(axes)}; must be z, y, x in this order; write the image again so")
    return [location / _checked_path(location, dataset.path) for dataset in multiscale.datasets]


def _checked_path(location: Location, path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path:
        raise InputError(f"{location}: level 0 lies at {path!r}; must be inside the image; mend the OME-Zarr metadata")
    if not path.isprintable() or len(path.encode()) > LONGEST_PATH:
        raise unusable(location, f"level 0 lies at {path[:40]!r}, which is no usable name")
    return path
