"""Scans as somebody drops them into an inbox: TIFF slices and scan.json, tiny but real."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import Phantom
from ps3d_core.store.location import Location

SIDE, DIAMETER = 32, 12
# No resampling, and one patch.
DESCRIPTION = {
    "spacing": 0.01,
    "particle_size": DIAMETER / 100,
    "slices": SIDE,
    "settings": {"mirror": False, "target_particle_size": DIAMETER},
}


@cache
def voxels() -> npt.NDArray[Any]:
    """Grey values of a scan with a few particles."""
    shape = (SIDE, SIDE, SIDE)
    grey, _ = Phantom(PhantomParams(shape=shape, particle_size_voxels=DIAMETER, seed=1)).render(Box.of(shape))
    return grey


@cache
def slice_files() -> tuple[bytes, ...]:
    """The scan as TIFF files."""
    return tuple(_tiff(plane) for plane in voxels())


def drop(inbox: Location, folder: str, *, slices: int = SIDE, truncated: int | None = None, **changes: Any) -> None:
    """A scan named like its folder; `changes` to its description, None to leave a field out."""
    files = list(slice_files()[:slices])
    if truncated is not None:
        files[truncated] = files[truncated][: len(files[truncated]) // 2]
    for index, content in enumerate(files):
        (inbox / folder / f"slice_{index:04d}.tif").write_bytes(content)
    (inbox / folder / "scan.json").write_text(described(**{"name": folder, **changes}))


def described(**changes: Any) -> str:
    """Content of scan.json; fields that are None are left out."""
    content = {**DESCRIPTION, **changes}
    return json.dumps({key: value for key, value in content.items() if value is not None})


def _tiff(plane: npt.NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, plane, photometric="minisblack")
    return file.getvalue()
