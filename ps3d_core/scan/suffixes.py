"""How the files of a scan are called: what a listing tells of them, without the readers and their libraries."""

from __future__ import annotations

from typing import Final

BIG_TIFF_SUFFIXES: Final = (".btf", ".tf2", ".tf8")
TIFF_SUFFIXES: Final = (".tif", ".tiff", *BIG_TIFF_SUFFIXES)
NIFTI_SUFFIXES: Final = (".nii", ".nii.gz")
ZARR_FILES: Final = frozenset({"zarr.json", ".zarray", ".zgroup"})
"""Of which a folder that is a Zarr, of version 3 or 2, has one at its top."""
