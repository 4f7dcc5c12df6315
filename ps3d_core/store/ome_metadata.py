"""What the group of an OME-Zarr image says of itself, in any version from 0.1 to 0.5.

Versions 0.4 and 0.5 have models in ome-zarr-models. Those before are brought into the form of 0.4: their axes are
always t, c, z, y, x (0.1 and 0.2) or names alone (0.3), and none of them has a scale or a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import zarr
from ome_zarr_models.v04.image import ImageAttrs as ImageAttrs04
from ome_zarr_models.v05.image import ImageAttrs as ImageAttrs05
from pydantic import ValidationError

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.printable import printable
from ps3d_core.store.arrays import UNUSABLE, what_is_wrong
from ps3d_core.store.location import Location

ImageAttrs = ImageAttrs04 | ImageAttrs05

WITHOUT_AXES: Final = ("0.1", "0.2")
WITHOUT_SCALES: Final = (*WITHOUT_AXES, "0.3")
_READ: Final = (*WITHOUT_SCALES, "0.4", "0.5")
_ALWAYS: Final = ("t", "c", "z", "y", "x")
"""Axes of every image before they could be named."""
_KINDS: Final = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_LONGEST_LABEL: Final = 30


def image_attributes(location: Location, group: zarr.Group) -> ImageAttrs:
    """Return what the metadata of a group say of its images.

    Raise `InputError` for a group that is no image of a version that is read, with what to give instead.
    """
    attributes = group.attrs.asdict()
    try:
        if "ome" in attributes:
            return ImageAttrs05.model_validate(_without_colours(attributes["ome"]))
        return ImageAttrs04.model_validate(_as_04(_without_colours(attributes)))
    except ValidationError as error:
        if (other := _other_group(location, all_of(attributes))) is not None:
            raise other from error
        raise InputError(
            f"{location}: a Zarr group but not an OME-Zarr image of versions 0.1 to 0.5 ({first_problem(error).text}); "
            "give an image, or the array inside the group"
        ) from error
    except UNUSABLE as error:
        raise unusable(location, what_is_wrong(error)) from error


def unusable(location: Location, reason: str) -> InputError:
    """Return the error for metadata that cannot be used, for a `reason`."""
    return InputError(f"{location}: metadata of the Zarr cannot be used ({reason}); restore or export it again")


def all_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return attributes of a group together with those that stand below `ome` since 0.5."""
    ome = attributes.get("ome")
    return {**attributes, **(ome if isinstance(ome, dict) else {})}


def version_without_scales(group: zarr.Group) -> str | None:
    """Return the version of an image of before scales were stored; None for any other."""
    attributes = group.attrs.asdict()
    if "ome" in attributes or not isinstance(said := attributes.get("multiscales"), list) or not said:
        return None
    return _old_version(said[0])


def channel_labels(group: zarr.Group) -> tuple[str, ...]:
    """Return what the metadata for viewers call the channels, in order; empty where they do not say."""
    omero = all_of(group.attrs.asdict()).get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return ()
    labels = (channel.get("label") if isinstance(channel, dict) else None for channel in channels)
    return tuple("" if label is None else printable(str(label))[:_LONGEST_LABEL] for label in labels)


def _without_colours(attributes: Any) -> Any:
    """Attributes without those for viewers, which are no reason to refuse an image."""
    if not isinstance(attributes, dict):
        return attributes
    return {name: value for name, value in attributes.items() if name != "omero"}


def _as_04(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    said = attributes.get("multiscales")
    if not isinstance(said, list) or not any(_old_version(each) for each in said):
        return attributes
    return {**attributes, "multiscales": [_multiscale_as_04(each) if _old_version(each) else each for each in said]}


def _old_version(said: Any) -> str | None:
    """The version of one image's metadata that has no scales; one that is not told follows from the axes."""
    if not isinstance(said, dict):
        return None
    version, axes = said.get("version"), said.get("axes")
    if version is None and not _has_scales(said):
        version = WITHOUT_AXES[0] if axes is None else WITHOUT_SCALES[-1] if _are_names(axes) else None
    return version if version in WITHOUT_SCALES else None


def _has_scales(said: Mapping[str, Any]) -> bool:
    levels = said.get("datasets")
    if not isinstance(levels, list):
        return False
    return any(isinstance(level, dict) and "coordinateTransformations" in level for level in levels)


def _are_names(axes: Any) -> bool:
    return isinstance(axes, list) and bool(axes) and all(isinstance(axis, str) for axis in axes)


def _multiscale_as_04(said: Mapping[str, Any]) -> Mapping[str, Any]:
    axes = said.get("axes", list(_ALWAYS))
    if not _are_names(axes):
        return said
    no_scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    return {
        "version": "0.4",
        "name": said.get("name"),
        "axes": [{"name": axis, "type": _KINDS.get(axis.lower())} for axis in axes],
        "datasets": [{"path": level["path"], "coordinateTransformations": no_scale} for level in said["datasets"]],
    }


def _other_group(location: Location, attributes: Mapping[str, Any]) -> InputError | None:
    """Return the error that says what a group is that is no image that is read, and what to give instead."""
    if "plate" in attributes:
        return InputError(f"{location}: a plate of many images; give one of them, {location}/ROW/COLUMN/FIELD")
    if "well" in attributes:
        return InputError(f"{location}: a well of several images; give one of them, {location}/FIELD")
    if isinstance(names := attributes.get("labels"), list):
        return InputError(
            f"{location}: a group of label images; give one of them: {', '.join(map(str, names[:8]))[:200]}"
        )
    match attributes.get("multiscales"):
        case [{"version": str(version), "datasets": [{"path": str(path)}, *_]}, *_] if version not in _READ:
            return InputError(
                f"{location}: OME-Zarr {version[:8]!r}; 0.1 to 0.5 are read; give its array, {location}/{path[:80]}"
            )
    return None
