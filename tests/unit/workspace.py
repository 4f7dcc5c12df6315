"""A folder as somebody has it who works with ps3d: slices, a dataset, labels, results, and files of other kinds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from ps3d_core.geometry.boxes import Box
from ps3d_core.params import ExportParams, IngestParams
from ps3d_core.scan.export import export
from ps3d_core.scan.ingest import ingest, ingest_labels
from ps3d_core.store.arrays import write_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

SHAPE = (24, 40, 32)
SPACING = 0.01


def grey_values() -> npt.NDArray[np.uint16]:
    """A scan that differs along every axis."""
    z, y, x = np.indices(SHAPE)
    return (1000 + 37 * z + 11 * y + 5 * x + (z * y * x) % 97).astype(np.uint16)


def particles() -> npt.NDArray[np.uint32]:
    """Two cubes in it."""
    labels = np.zeros(SHAPE, np.uint32)
    labels[2:10, 2:10, 2:10] = 1
    labels[12:22, 12:22, 12:22] = 2
    return labels


def make_workspace(here: Path) -> None:
    """Fill the folder `here`.

    slices/ and one.tif hold a scan of 24 slices, data/ is a dataset with it as `ore`, its labels too; labels.zarr,
    border-core.zarr and other.zarr (of another shape) are volumes; empty/ has nothing in it; notes.txt is of the user.
    """
    write_slices(here / "slices", grey_values())
    tifffile.imwrite(here / "one.tif", grey_values(), photometric="minisblack")
    tifffile.imwrite(here / "slice.tif", grey_values()[0], photometric="minisblack")
    (here / "empty").mkdir()
    (here / "notes.txt").write_text("mine\n")
    place = Location.parse(here)
    write_zarr(here / "labels.zarr", particles(), label=True)
    write_zarr(here / "other.zarr", particles()[1:], label=True)
    write_zarr(here / "border-core.zarr", np.minimum(particles(), 2).astype(np.uint8), label=True)
    dataset = Dataset(place / "data")
    ingest(here / "one.tif", dataset, "ore", IngestParams(spacing=SPACING, particle_size=0.08))
    ingest_labels(str(here / "labels.zarr"), dataset, "ore")
    export(str(here / "data" / "images" / "ore.zarr"), str(here / "ore.nii.gz"), ExportParams(format="nifti"))


def write_slices(folder: Path, volume: npt.NDArray[Any], name: str = "ore_{:04d}.tif") -> None:
    """The volume as a folder of TIFF slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, values in enumerate(volume):
        tifffile.imwrite(folder / name.format(z), values, photometric="minisblack")


def write_zarr(place: Path, volume: npt.NDArray[Any], *, label: bool = False, spacing: float | None = SPACING) -> None:
    """The volume as an OME-Zarr image."""
    array = create_image(
        Location.parse(place), volume.shape, volume.dtype, spacing=spacing, name=place.stem, label=label
    )
    write_box(array, Box.of(volume.shape), volume)


def change_metadata(dataset: Path, **entries: Any) -> None:
    """Set entries of metadata.json, as an editor would."""
    file = dataset / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def listing(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder: content of files, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def copied(source: Path, target: Path) -> Path:
    """A copy of a workspace, to be spoilt."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
