"""ISQ volumes of Scanco's scanners: a header of 512 bytes, further blocks, and 16-bit voxels.

Files come from OpenVMS: numbers are little-endian, lengths whole micrometres of the whole scan, and everything lies in
blocks of 512 bytes. Grey values are those stored; the linear attenuation is a fraction of them, which is said.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.scan.files import open_to_read
from ps3d_core.scan.flat import FlatLayout
from ps3d_core.scan.flat_volume import FlatVolume
from ps3d_core.scan.reader import scan_shape
from ps3d_core.scan.stated_spacing import spacing_in_mm
from ps3d_core.scan.suffixes import ISQ_SUFFIXES
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing

_BLOCK: Final = 512
_MAGIC: Final = b"CTDATA-HEADER_V1"
_PROJECTIONS: Final = 9  # data type of an overview radiograph
_FIELDS: Final = struct.Struct("<16s i 24x 3i 3i i i 12x i 416x i")
"""Magic; data type; voxels x, y, z; lengths x, y, z, thickness and distance of slices, um; scale of mu; data offset."""
_TRUNCATED_UM: Final = 1.1
"""Difference that comes of lengths being cut to whole micrometres."""


class IsqVolume(FlatVolume):
    """An ISQ file, int16 as stored."""

    suffixes = ISQ_SUFFIXES

    def __init__(self, location: Location) -> None:
        name = str(location)
        with open_to_read(location) as file:
            block = file.read(_BLOCK)
        if len(block) < _BLOCK or not block.startswith(_MAGIC):
            raise InputError(f"{name}: not an ISQ file; restore it, or give the .isq file of the scan")
        _, kind, *sides, x_um, y_um, z_um, _, distance_um, mu_scale, offset = _FIELDS.unpack(block)
        if kind == _PROJECTIONS or z_um == 0:
            raise InputError(f"{name}: a radiograph or projections, not a volume; give the .isq file of the scan")
        shape = scan_shape(tuple(reversed(sides)), name)
        if offset < 0:
            raise InputError(f"{name}: data offset {offset}; must be 0 or more; restore the file")
        layout = FlatLayout(shape, np.dtype("<i2"), (offset + 1) * _BLOCK, padding=_BLOCK - 1)
        edges = tuple(length / side for length, side in zip((x_um, y_um, z_um), sides, strict=True))
        spacing = _spacing(edges, distance_um)
        super().__init__([location], layout, location, spacing=spacing, notes=(_attenuation(mu_scale),))
        self.description = f"ISQ file {location.name} of {self.shape[0]} slices"


def _spacing(edges_um: tuple[float, ...], distance_um: int) -> tuple[Spacing | None, str | None]:
    spacing, doubt = spacing_in_mm(edges_um, "um")
    z_um = edges_um[2]
    if spacing and distance_um > 0 and abs(z_um - distance_um) > _TRUNCATED_UM:
        return None, (
            f"its spacing {z_um:g}, {edges_um[1]:g}, {edges_um[0]:g} um (z, y, x) is not used: its header also says "
            f"that slices stand {distance_um} um apart"
        )
    return spacing, doubt


def _attenuation(mu_scale: int) -> str | None:
    if mu_scale <= 1:
        return None
    return f"grey values are kept as stored; divided by {mu_scale} they are linear attenuation, 1/cm"
