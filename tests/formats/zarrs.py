"""OME-Zarr of all versions and with channels, written by zarr."""

from __future__ import annotations

import shutil
import zipfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import ZipStore

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import SPACING, FileFormat, Part, Volume

CHANNEL, CHANNELS, TIME, TIMES = 1, 3, 1, 2
SMALL = 2**26


def write_old(folder: Path, volume: Volume, spacing: Spacing, *, version: str, stored: Volume | None = None) -> Path:
    """An image of version 0.1, 0.2 or 0.3 as (t, c, z, y, x)."""
    group = zarr.open_group(folder / "scan.zarr", mode="w", zarr_format=2)
    stored = volume[None, None] if stored is None else stored
    separator = {"name": "v2", "separator": "." if version == "0.1" else "/"}
    chunks = (1, 1, 4, 64, 64) if volume.nbytes < SMALL else (1, 1, 32, 256, 256)
    group.create_array("0", data=stored, chunks=chunks, chunk_key_encoding=separator)
    axes = {"axes": list("tczyx")} if version == "0.3" else {}
    group.attrs["multiscales"] = [{"version": version, **axes, "datasets": [{"path": "0"}]}]
    return folder / "scan.zarr"


def write_five_axes(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    """An image of version 0.5 with channels, of which one chunk holds two, and points in time; in shards."""
    group = zarr.open_group(folder / "scan.zarr", mode="w", zarr_format=3)
    shape = (TIMES, CHANNELS, *volume.shape)
    chunks = {"chunks": (1, 2, 4, 64, 64), "shards": (1, 2, 8, 128, 128)}
    if volume.nbytes >= SMALL:
        chunks = {"chunks": (1, 2, 32, 128, 128), "shards": (1, 2, 64, 512, 512)}
    array: Any = group.create_array("0", shape=shape, dtype=volume.dtype, **chunks)
    for time, channel in product(range(TIMES), range(CHANNELS)):
        if (time, channel) == (TIME, CHANNEL):
            array[time, channel] = volume
        elif volume.nbytes < SMALL:  # others would take room, and nothing else
            array[time, channel] = np.roll(volume, 5 * time + channel, 2)
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, *(1000 * side for side in spacing)]}]
    multiscales = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    channels = [{"label": label, "color": "00FF00"} for label in ("DAPI", "GFP", "Cy5")]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales, "omero": {"channels": channels}}
    return folder / "scan.zarr"


def _read(source: Path, at: tuple[int, int] = (0, 0)) -> Volume:
    return np.asarray(zarr.open_array(source / "0", mode="r")[at])


def _write_zipped(folder: Path, volume: Volume, spacing: Spacing, *, name: str, method: int, top: str) -> Path:
    """An image of version 0.5 with a channel in an archive."""
    place = write_five_axes(folder / "unpacked", volume, spacing)
    with zipfile.ZipFile(folder / name, "w", method) as archive:
        for path in sorted(place.rglob("*")):
            archive.write(path, f"{top}{path.relative_to(place)}")
    shutil.rmtree(folder / "unpacked")
    return folder / name


def _read_zipped(source: Path, *, top: str) -> Volume:
    with ZipStore(source, mode="r") as store:
        return np.asarray(zarr.open_array(store, path=f"{top}0", mode="r")[TIME, CHANNEL])


def _directory(source: Path) -> list[Part]:
    size = source.stat().st_size
    with zipfile.ZipFile(source) as archive:
        return [(source, archive.start_dir, size)]


def _metadata(source: Path) -> list[Part]:
    files = [path for path in source.rglob("*") if path.name.startswith(".z") or path.name == "zarr.json"]
    return [(path, 0, path.stat().st_size) for path in files]


FORMATS = [
    *(
        FileFormat(f"OME-Zarr {version}", partial(write_old, version=version), _read, spacing=None, headers=_metadata)
        for version in ("0.1", "0.2", "0.3")
    ),
    FileFormat(
        "OME-Zarr 0.5, one channel and time of several",
        write_five_axes,
        partial(_read, at=(TIME, CHANNEL)),
        spacing=SPACING,
        headers=_metadata,
        params=lambda volume: {"channel": CHANNEL, "time": TIME},
    ),
    *(
        FileFormat(
            f"OME-Zarr in {name}",
            partial(_write_zipped, name=name, method=method, top=top),
            partial(_read_zipped, top=top),
            headers=_directory,
            params=lambda volume: {"channel": CHANNEL, "time": TIME},
        )
        for name, method, top in (
            ("scan.ozx", zipfile.ZIP_STORED, ""),
            ("scan.zarr.zip", zipfile.ZIP_DEFLATED, "scan.zarr/"),
        )
    ),
]
