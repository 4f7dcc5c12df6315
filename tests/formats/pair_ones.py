"""Analyze 7.5 and NIfTI in two files, written and read by nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume


def _written(kind: Any, given: str, suffix: str = ""):
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        image = kind(volume.T, np.diag((*spacing[::-1], 1.0)))
        image.to_file_map(
            {
                "header": nib.FileHolder(str(folder / f"scan.hdr{suffix}")),
                "image": nib.FileHolder(str(folder / f"scan.img{suffix}")),
            }
        )
        return folder / given

    return write


def _read(source: Path) -> Volume:
    return np.asarray(nib.load(source).dataobj).T


def _read_analyze(source: Path) -> Volume:
    """Without the scale factor that only SPM knows."""
    return np.asarray(nib.load(source).dataobj.get_unscaled()).T


def _header(source: Path) -> list[Part]:
    file = next(path for path in sorted(source.parent.iterdir()) if ".hdr" in path.name)
    return [(file, 0, file.stat().st_size)]


ANALYZE = ("uint8", "int16", "float32")
FORMATS = [
    FileFormat("Analyze .hdr", _written(nib.AnalyzeImage, "scan.hdr"), _read_analyze, dtypes=ANALYZE, headers=_header),
    FileFormat("Analyze .img", _written(nib.AnalyzeImage, "scan.img"), _read_analyze, dtypes=ANALYZE, headers=_header),
    FileFormat("NIfTI .hdr", _written(nib.Nifti1Pair, "scan.hdr"), _read, headers=_header),
    FileFormat("NIfTI-2 .img.gz", _written(nib.Nifti2Pair, "scan.img.gz", ".gz"), _read, headers=_header),
]
