"""How the files of a scan are called: what a listing tells of them, without the readers and their libraries."""

from __future__ import annotations

from typing import Final

BIG_TIFF_SUFFIXES: Final = (".btf", ".tf2", ".tf8")
TIFF_SUFFIXES: Final = (".tif", ".tiff", *BIG_TIFF_SUFFIXES)
OME_TIFF_SUFFIXES: Final = tuple(f".ome{suffix}" for suffix in TIFF_SUFFIXES)
PICTURE_SUFFIXES: Final = (".png", ".bmp", ".jp2", ".j2k", ".jpx")
DICOM_SUFFIXES: Final = (".dcm", ".dicom", ".ima")
NIFTI_SUFFIXES: Final = (".nii", ".nii.gz")
PAIR_SUFFIXES: Final = (".hdr", ".img", ".hdr.gz", ".img.gz")
"""Of which header and voxels are two files: Analyze, NIfTI."""
METAIMAGE_SUFFIXES: Final = (".mhd", ".mha")
NRRD_SUFFIXES: Final = (".nrrd", ".nhdr")
RAW_SUFFIXES: Final = (".raw", ".vol", ".bin")
"""Voxels without a header, which may lie beside them."""
RAW_HEADER_SUFFIXES: Final = (".vgi", ".pcr", ".pca", ".info", ".dat")
LOG_SUFFIXES: Final = (".log", ".pcr", ".pca", ".xtekct")
"""Of the logs of scanners, which lie beside slices and files."""
HDF5_SUFFIXES: Final = (".h5", ".hdf5", ".hdf", ".he5", ".nxs", ".nx5")
XRM_SUFFIXES: Final = (".txrm", ".txm")
ISQ_SUFFIXES: Final = (".isq", ".isq;1")
AMIRA_SUFFIXES: Final = (".am", ".amiramesh")
PACKED_ZARR_SUFFIXES: Final = (".zarr.zip", ".ozx")
ZARR_FILES: Final = frozenset({"zarr.json", ".zarray", ".zgroup"})
"""Of which a folder that is a Zarr, of version 3 or 2, has one at its top."""
READ: Final = (
    "a folder of slices (TIFF, PNG, BMP, JPEG 2000, DICOM), a TIFF, NIfTI, Analyze, MetaImage, NRRD, HDF5 or NeXus, "
    "TXRM or TXM, ISQ or AmiraMesh file, or a Zarr"
)
"""What a person can give as a scan."""
