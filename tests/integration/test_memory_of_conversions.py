"""Peak memory does not grow with the scan: the same command on a volume and on one three times as deep."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ps3d_core.scan.nifti_writer import write_nifti
from ps3d_core.scan.placed import Placed
from ps3d_core.store.location import Location
from tests.integration.peak_memory import peak_of

SIDE = 512
SHALLOW, DEEP = 640, 1920  # slices: 160 and 480 MiB; the shallow one fills all slabs and blocks at work at a time
ROOM_MIB = 90  # below the difference in size, above what an allocator may keep


def nifti_of(path: Path, slices: int) -> Path:
    """Slices of one random pattern, so that making it costs little."""
    pattern = np.random.default_rng(0).integers(0, 256, (32, SIDE, SIDE)).astype(np.uint8)
    slabs = (pattern for _ in range(slices // len(pattern)))
    write_nifti(Location.parse(path), slabs, (slices, SIDE, SIDE), pattern.dtype, Placed((0.01,) * 3), compressed=False)
    assert nib.load(path).shape == (SIDE, SIDE, slices)
    return path


@pytest.mark.soak
@pytest.mark.slow
def test_conversions_and_zscore(tmp_path: Path) -> None:
    peaks: dict[str, list[float]] = {}
    for slices in (SHALLOW, DEEP):
        folder = tmp_path / str(slices)
        folder.mkdir()
        source, packed, data = nifti_of(folder / "scan.nii", slices), folder / "scan.nii.gz", folder / "data"
        for step, arguments in {
            "nii to nii.gz": ["export", source, packed, "--format", "nifti"],
            "nii.gz to tiff": ["export", packed, folder / "scan.tif", "--format", "tiff"],
            "nii.gz to zarr": ["ingest", packed, data, "--name", "scan", "--particle-size", "0.2"],
            "zscore": ["zscore", data, "--workers", "2"],
            "zscore of samples": ["zscore", data, "--workers", "2", "--samples", "10000"],
            "zarr to nii": ["export", data / "images" / "scan.zarr", folder / "again.nii", "--format", "nifti"],
        }.items():
            peaks.setdefault(step, []).append(peak_of(*arguments) / 2**20)
        assert (folder / "again.nii").stat().st_size == source.stat().st_size
    grown = {step: deep - shallow for step, (shallow, deep) in peaks.items()}
    assert max(grown.values()) < ROOM_MIB, peaks
