"""TIFF, NIfTI and OME-Zarr, written by tifffile, nibabel and zarr."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import tifffile
import zarr

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume


def _tiff(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    sizes = {f"PhysicalSize{axis}": side for axis, side in zip("ZYX", spacing, strict=True)}
    units = {f"PhysicalSize{axis}Unit": "mm" for axis in "ZYX"}
    tifffile.imwrite(folder / "scan.ome.tif", volume, metadata={"axes": "ZYX", **sizes, **units})
    return folder / "scan.ome.tif"


def _tiff_slices(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    for index, values in enumerate(volume):
        tifffile.imwrite(folder / f"slice_{index:04d}.tif", values)
    return folder


def _read_tiff_slices(source: Path) -> Volume:
    slices = []
    for path in sorted(source.iterdir()):
        with tifffile.TiffFile(path) as tif:
            slices.append(tif.pages.first.asarray())
    return np.stack(slices)


def _nifti(folder: Path, volume: Volume, spacing: Spacing, name: str = "scan.nii") -> Path:
    image = nib.Nifti1Image(volume.T, np.diag((*spacing[::-1], 1.0)))
    image.header.set_xyzt_units("mm")
    nib.save(image, folder / name)
    return folder / name


def _packed_nifti(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    return _nifti(folder, volume, spacing, "scan.nii.gz")


def _read_nifti(source: Path) -> Volume:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(source)))


def _zarr(folder: Path, volume: Volume, spacing: Spacing) -> Path:
    group = zarr.open_group(folder / "scan.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=volume, chunks=(4, *(min(side, 64) for side in volume.shape[1:])))
    scale = [{"type": "scale", "scale": list(spacing)}]
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return folder / "scan.zarr"


def _read_zarr(source: Path) -> Volume:
    return np.asarray(zarr.open_array(source / "0", mode="r")[:])


def _zarr_metadata(source: Path) -> list[Part]:
    files = [path for path in source.rglob(".z*") if path.is_file()]
    return [(path, 0, path.stat().st_size) for path in files]


FORMATS = [
    FileFormat("TIFF, one file", _tiff, tifffile.imread),
    FileFormat("TIFF slices", _tiff_slices, _read_tiff_slices, spacing=None),
    FileFormat("NIfTI .nii", _nifti, _read_nifti, headers=lambda source: [(source, 0, 352)]),
    FileFormat("NIfTI .nii.gz", _packed_nifti, _read_nifti),
    FileFormat(
        "OME-Zarr 0.4",
        _zarr,
        lambda source: np.asarray(zarr.open_array(source / "0", mode="r")[:]),
        headers=_zarr_metadata,
    ),
]
