"""The edges of a voxel as TIFF files state them: in OME-XML, in ImageJ's metadata, or in this project's own.

Bare resolution tags are not believed: most programs write a default there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Final
from xml.etree import ElementTree

from tifffile import TiffFile

from ps3d_core.store.ome import Spacing

_MM_PER_UNIT: Final = {
    "pm": 1e-9,
    "Å": 1e-7,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "\\u00b5m": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "m": 1000.0,
    "in": 25.4,
    "inch": 25.4,
    "inches": 25.4,
}
_OME_UNIT: Final = "µm"  # what OME means where it names no unit

Said = tuple[Spacing | None, str | None]
"""Spacing (z, y, x) in mm where it is beyond doubt, and else why what is written there is not believed."""


def tiff_spacing(tif: TiffFile) -> Said:
    """Return the spacing that the file states, and a note where it states one that cannot be used. Raise nothing."""
    if tif.is_ome:
        return _from_ome(tif.ome_metadata or "")
    if (meta := tif.imagej_metadata) is not None:
        return _from_imagej(tif, meta)
    own = (tif.shaped_metadata or ({},))[0]
    if "spacing" not in own:
        return None, None
    return _in_mm(own["spacing"], [own.get("unit")] * 3)


def _from_ome(xml: str) -> Said:
    if _has_entities(xml):
        return None, "its OME-XML defines entities and is not read"
    try:
        pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")  # noqa: S314 (without entities)
    except (ElementTree.ParseError, ValueError):
        return None, "its OME-XML is damaged"
    return (None, None) if pixels is None else edges_of(pixels)


def edges_of(pixels: ElementTree.Element) -> Said:
    """Return the spacing that the element Pixels of OME-XML states, and a note where it cannot be used."""
    sides = [pixels.get(f"PhysicalSize{axis}") for axis in "ZYX"]
    if not any(sides):
        return None, None
    return _in_mm(sides, [pixels.get(f"PhysicalSize{axis}Unit", _OME_UNIT) for axis in "ZYX"])


def _has_entities(xml: str) -> bool:
    return "<!DOCTYPE" in xml or "<!ENTITY" in xml  # no OME file needs these, and they can grow without bound


@dataclass(frozen=True, slots=True, order=True)
class OmePlanes:
    """Where OME-XML says that planes lie: from slice `first` on in `file`, there from page `page` on."""

    first: int
    file: str
    page: int


def planes_named(xml: str) -> tuple[list[OmePlanes], int, int]:
    """Return where OME-XML says that the planes lie, how many slices there are, and how many channels and times.

    None where it does not say.
    """
    if not xml or _has_entities(xml):
        return [], 0, 1
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 (without entities)
        pixels = root.find(".//{*}Pixels")
        z, c, t = (1 if pixels is None else int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT")
        entries = [(data, data.find("{*}UUID")) for data in root.findall(".//{*}TiffData")]
        return (
            [
                OmePlanes(int(data.get("FirstZ", 0)), uuid.get("FileName") or "", int(data.get("IFD", 0)))
                for data, uuid in entries
                if uuid is not None
            ],
            z,
            c * t,
        )
    except (ElementTree.ParseError, ValueError):
        return [], 0, 1


def planes_promised(xml: str) -> int:
    """Return how many planes, at most, OME-XML promises for one of its images; 0 where it does not say."""
    if not xml or _has_entities(xml):
        return 0
    try:
        images = ElementTree.fromstring(xml).findall(".//{*}Pixels")  # noqa: S314 (without entities)
        return max((prod(max(1, int(one.get(f"Size{axis}", 1))) for axis in "ZCT") for one in images), default=0)
    except (ElementTree.ParseError, ValueError):
        return 0


def files_named(xml: str) -> set[str]:
    """Return the names of the files in which OME-XML says that planes lie."""
    return {planes.file for planes in planes_named(xml)[0]}


def _from_imagej(tif: TiffFile, meta: dict[str, object]) -> Said:
    tags = tif.pages.first.tags
    across = [tags.valueof(tag) for tag in ("YResolution", "XResolution")]  # pixels per unit, numerator first
    if "unit" not in meta or any(pair is None for pair in across):
        return None, None
    unit = str(meta["unit"])
    if unit.lower() in ("", "pixel", "pixels"):
        return None, None
    sides = [meta.get("spacing"), *(pair[1] / pair[0] if pair[0] else None for pair in across)]
    return _in_mm(sides, [unit if unit in _MM_PER_UNIT else unit.lower()] * 3)


def _in_mm(sides: object, units: Sequence[object]) -> Said:
    stated = f"its spacing {sides} {'/'.join(dict.fromkeys(map(str, units)))} (z, y, x) is not used"
    try:
        z, y, x = (
            float(f"{float(side) * _MM_PER_UNIT[str(unit)]:.12g}")
            for side, unit in zip(sides, units, strict=True)  # type: ignore[call-overload]
        )
    except KeyError:
        return None, f"{stated}: not a unit of length"
    except (TypeError, ValueError):
        return None, f"{stated}: not three lengths"
    if not all(isfinite(side) and side > 0 for side in (z, y, x)):
        return None, f"{stated}: lengths must be above 0"
    return (z, y, x), None
