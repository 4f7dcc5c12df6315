"""The edges of a voxel in the OME-XML that bioformats2raw puts beside images whose own metadata keep none."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree

from ps3d_core.errors import Ps3dError
from ps3d_core.scan.tiff_spacing import edges_of
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

XML: Final = ("OME", "METADATA.ome.xml")
_MOST_BYTES: Final = 2**24


def spacing_beside(image: Location, stored: tuple[int, ...]) -> Spacing | None:
    """Return the spacing (z, y, x) in mm that the file beside `image`, of the shape `stored` (t, c, z, y, x), states.

    That is an image with a number for its name, of the same number in the XML. None where there is no such file, or
    where it does not describe an image of this shape beyond doubt.
    """
    if not image.name.isdecimal() or len(stored) != len("TCZYX"):
        return None
    try:
        file = image.parent / XML[0] / XML[1]
        text = file.read_start(_MOST_BYTES + 1).decode("utf-8")
    except (Ps3dError, OSError, UnicodeDecodeError):
        return None
    if len(text) > _MOST_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities can grow without bound
        return None
    try:
        images = ElementTree.fromstring(text).findall("./{*}Image")  # noqa: S314 (without entities)
        pixels = images[int(image.name)].find("./{*}Pixels")
        sides = None if pixels is None else tuple(int(pixels.get(f"Size{axis}", "")) for axis in "TCZYX")
    except (ElementTree.ParseError, ValueError, IndexError):
        return None
    return None if pixels is None or sides != stored else edges_of(pixels)[0]
