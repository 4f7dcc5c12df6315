"""The edges of a voxel as HDF5 files state them, by the conventions that say a unit.

NeXus: axes of a dataset, each an array of positions with @units, or fields x_pixel_size, ... beside it. ilastik and
Fiji: the attribute element_size_um. nabu: voxel_size_cm in its configuration. What is said of a detector is not the
size of a voxel and not taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite, log10
from typing import Any, Final

import numpy as np

from ps3d_core.geometry.spacing import same_spacing
from ps3d_core.scan.hdf5_file import DAMAGED, Found, Hdf5Files
from ps3d_core.scan.hdf5_find import attribute, is_dataset, text_of
from ps3d_core.scan.spacing import SAME, spacing_text
from ps3d_core.store.ome import Spacing

MM_PER_UNIT: Final = {
    "pm": 1e-9,
    "angstrom": 1e-7,
    "å": 1e-7,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "nanometre": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "micron": 1e-3,
    "micrometer": 1e-3,
    "micrometre": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "millimetre": 1.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "centimetre": 10.0,
    "m": 1000.0,
    "meter": 1000.0,
    "metre": 1000.0,
}
_NO_LENGTH: Final = {"", "voxel", "pixel", "index", "px", "a.u", "dimensionless", "none"}
"""What programs write as a unit that know no length."""
_EVEN: Final = 1e-3
"""Share of a step by which positions of voxels may differ from even ones."""
_LONGEST_AXIS: Final = 10**6

Said = tuple[Spacing | None, str | None, str | None]
"""Spacing (z, y, x) in mm, where it was found, and why what is stated is not believed."""


def hdf5_spacing(files: Hdf5Files, found: Found, axes: Sequence[int]) -> Said:
    """Return the spacing that a file states of a dataset along three of its `axes`. Raise nothing."""
    every: list[Said] = []
    for method in (_from_axes, _from_fields, _from_attribute, _from_nabu):
        try:
            said = method(files, found, axes)
        except DAMAGED as error:
            said = None, None, f"its spacing cannot be read ({' '.join(str(error).split())[:80]})"
        if said is not None:
            every.append(said)
    first, where, doubt = every[0] if every else (None, None, None)
    for other, elsewhere, _ in every[1:]:
        if first and other and not same_spacing(first, other, SAME):
            both = f"{spacing_text(first)} mm by {where}, {spacing_text(other)} mm by {elsewhere}"
            return None, None, f"its spacing is not used: {both}"
    return first, where, doubt


def axes_note(files: Hdf5Files, found: Found, axes: Sequence[int]) -> str | None:
    """Return a note where the axes of a dataset are called otherwise than z, y, x, in another order or of time."""
    names = _letters(files, found, axes)
    if names and set(names) <= {*"zyxtc"} and names != ["z", "y", "x"]:
        return f"its axes are {', '.join(names)} in this order; the first is taken for the slices, as it is stored"
    return None


def _letters(files: Hdf5Files, found: Found, axes: Sequence[int]) -> list[str]:
    """Last letters of the names of three axes, in lower case, by whichever convention names them; else none."""
    try:
        names = next(filter(any, (_axis_names(files, found), _labels(found), _tags(found))), [])
    except DAMAGED:
        return []
    letters = [names[axis].strip()[-1:].lower() for axis in axes] if names else []
    return letters if all(letters) else []


def _labels(found: Found) -> list[str]:
    """Names of the axes as HDF5 has them itself: labels, or scales that are attached."""
    names = [axis.label or next(iter(axis.keys()), "") for axis in found.item.dims]
    return [name.rpartition("/")[2] for name in names]


def _tags(found: Found) -> list[str]:
    """Names of the axes as vigra and ilastik write them."""
    try:
        names = [str(axis["key"]) for axis in json.loads(text_of(attribute(found.item, "axistags")))["axes"]]
    except (ValueError, LookupError, TypeError):
        return []
    return names if len(names) == len(found.item.shape) else []


def _folder(files: Hdf5Files, found: Found) -> Found | None:
    return files.find(found.path.rpartition("/")[0] or "/")


def _axis_names(files: Hdf5Files, found: Found) -> list[str]:
    """Names of the axes of a dataset in NeXus: of its group, or, as of old, of itself; empty where they do not fit."""
    folder = _folder(files, found)
    if folder is None:
        return []
    names: list[str] = []
    if text_of(attribute(folder.item, "signal")) == found.path.rpartition("/")[2]:
        value = attribute(folder.item, "axes")
        names = [text_of(each) for each in np.atleast_1d(value)] if value is not None else []
    elif own := text_of(attribute(found.item, "axes")):
        names = own.strip("[]").replace(",", ":").split(":")
    return names if len(names) == len(found.item.shape) else []


def _from_axes(files: Hdf5Files, found: Found, axes: Sequence[int]) -> Said | None:
    names, folder = _axis_names(files, found), _folder(files, found)
    if not names or folder is None:
        return None
    steps, units = [], []
    for axis in axes:
        name = names[axis].strip()
        positions = files.find(name, folder) if name not in ("", ".") else None
        if positions is None or not is_dataset(positions) or positions.item.shape == (1,):
            return None
        step = _step(positions.item, found.item.shape[axis])
        units.append(_unit(positions.item))
        steps.append(step)
    if all(unit.rstrip("s.") in _NO_LENGTH for unit in units):
        return None
    if None in steps:
        return None, None, "the positions of its voxels along an axis are not even; no spacing is taken from them"
    return _in_mm(steps, units, "axes of the dataset")


def hdf5_origin(files: Hdf5Files, found: Found, axes: Sequence[int], spacing: Spacing | None) -> Spacing:
    """Return where the first voxel lies (z, y, x), mm, by even positions along three of a dataset's `axes`.

    0 along all axes without such positions, and where they do not rise. Raise nothing.
    """
    nowhere = (0.0, 0.0, 0.0)
    try:
        names, folder = _axis_names(files, found), _folder(files, found)
        said = _from_axes(files, found, axes) if names and folder else None
        if folder is None or said is None or spacing is None or said[0] != spacing:
            return nowhere
        positions = [files.find(names[axis].strip(), folder) for axis in axes]
        values = [(item.item[0], item.item[1], _unit(item.item)) for item in positions if item is not None]
    except DAMAGED:
        return nowhere
    if not all(first < second for first, second, _ in values):
        return nowhere
    units = [MM_PER_UNIT.get(unit) or MM_PER_UNIT[unit.rstrip("s")] for *_, unit in values]
    z, y, x = (float(f"{first * unit:.12g}") for (first, *_), unit in zip(values, units, strict=True))
    return (z, y, x) if all(map(isfinite, (z, y, x))) else nowhere


def _step(positions: Any, side: int) -> float | None:
    """Distance of voxels of which there are `side`; None where positions do not fit, or are uneven."""
    if positions.ndim != 1 or positions.shape[0] not in (side, side + 1) or side > _LONGEST_AXIS or side < 2:
        return None
    values = positions[()].astype(np.float64)
    steps = np.diff(values)
    step = float(abs(values[-1] - values[0]) / (len(values) - 1))
    # Positions in float32 are rounded: more so, the farther they are from 0.
    rounding = float(np.spacing(np.abs(positions[()]).max())) if positions.dtype.kind == "f" else 0.0
    if not isfinite(step) or step == 0 or np.abs(np.abs(steps) - step).max() > _EVEN * step + 4 * rounding:
        return None
    digits = int(min(12, max(3, log10(step * (len(values) - 1) / (2 * rounding))))) if rounding else 12
    return float(f"{step:.{digits}g}")


def _from_fields(files: Hdf5Files, found: Found, axes: Sequence[int]) -> Said | None:
    folder = _folder(files, found)
    fields = {axis: folder and files.find(f"{axis}_pixel_size", folder) for axis in "zyx"}
    if fields["y"] is None and fields["x"] is None:
        return None
    letters = _letters(files, found, axes)
    order = letters if sorted(letters) == ["x", "y", "z"] else "zyx"
    there = [field for axis in order if (field := fields[axis]) is not None and is_dataset(field)]
    values = [_number(field.item) for field in there]
    units = [_unit(field.item) for field in there]
    if len(there) < 3:
        lengths = ", ".join(f"{value:g} {unit}" for value, unit in zip(values, units, strict=True))
        return None, None, f"only the pixels of its slices have a size, {lengths}, not the step between them"
    return _in_mm(values, units, "pixel sizes beside the dataset")


def _from_attribute(files: Hdf5Files, found: Found, axes: Sequence[int]) -> Said | None:
    value = attribute(found.item, "element_size_um")
    if value is None or np.size(value) != 3:
        return None
    return _in_mm([float(side) for side in np.ravel(value)], ["um"] * 3, "element_size_um")


def _from_nabu(files: Hdf5Files, found: Found, axes: Sequence[int]) -> Said | None:
    process, _, results = found.path.rpartition("/results/")
    if results != "data":
        return None
    options = files.find(f"{process}/configuration/processing_options/reconstruction")
    sizes = options and files.find("voxel_size_cm", options)
    if sizes is not None and is_dataset(sizes) and sizes.item.size == 3:
        x, y, z = (float(side) for side in np.ravel(sizes.item[()]))
        return _in_mm([z, y, x], ["cm"] * 3, "nabu's voxel_size_cm")
    pixel = options and files.find("pixel_size_cm", options)
    if pixel is not None and is_dataset(pixel):
        return None, None, f"its configuration has a pixel size, {_number(pixel.item):g} cm, and none of the voxels"
    return None


def _number(item: Any) -> float:
    if item.size != 1:
        raise ValueError(f"{item.size} numbers for one length")
    return float(np.ravel(item[()])[0])


def _unit(item: Any) -> str:
    return (text_of(attribute(item, "units")) or text_of(attribute(item, "unit"))).strip().lower()


def _in_mm(sides: Sequence[float | None], units: Sequence[str], where: str) -> Said:
    named = [MM_PER_UNIT.get(unit) or MM_PER_UNIT.get(unit.rstrip("s")) for unit in units]
    stated = f"its spacing {', '.join(f'{side:.6g}' for side in sides)} {'/'.join(dict.fromkeys(units))} (z, y, x)"
    if None in named:
        return None, None, f"{stated} is not used: not a unit of length"
    lengths = [float(f"{(side or 0) * (mm or 0):.12g}") for side, mm in zip(sides, named, strict=True)]
    if not all(isfinite(side) and side > 0 for side in lengths):
        return None, None, f"{stated} is not used: lengths must be above 0"
    return (lengths[0], lengths[1], lengths[2]), where, None
