"""DICOM series and multi-frame files, written by pydicom and read by SimpleITK (GDCM)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from ps3d_core.store.ome import Spacing
from tests.formats.file_format import FileFormat, Part, Volume

SERIES = generate_uid(entropy_srcs=["series"])


def _jpeg_ls(values: Volume) -> bytes:
    """A frame without SPIFF header, as DICOM wants it."""
    frame = imagecodecs.jpegls_encode(values, out=2 * values.nbytes + 1024)
    while frame[2:4] == b"\xff\xe8":
        frame = frame[:2] + frame[4 + int.from_bytes(frame[4:6], "big") :]
    return frame


ENCODERS = {
    JPEG2000Lossless: lambda values: imagecodecs.jpeg2k_encode(values, reversible=True, level=0, codecformat="j2k"),
    JPEGLSLossless: lambda values: _jpeg_ls(values.view(f"u{values.itemsize}")),
    JPEGLosslessSV1: lambda values: b"\xff\xd8" + imagecodecs.ljpeg_encode(values.view(f"u{values.itemsize}"))[2:],
}


def dataset(values: Volume, storage: str, **elements: Any) -> FileDataset:
    """A file of the pixels `values` with what every file needs, and `elements`."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * values.itemsize
    about = {
        "SOPClassUID": storage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "PatientName": "Somebody^Secret",
        "PatientID": "4711",
        "SeriesInstanceUID": SERIES,
        "StudyInstanceUID": SERIES,
        "SeriesNumber": 2,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": values.shape[-2],
        "Columns": values.shape[-1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
    }
    for name, value in {**about, **elements}.items():
        if value is not None:
            setattr(made, name, value)
    made.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    made["PixelData"].VR = "OW" if bits > 8 else "OB"
    return made


def place(index: int, spacing: Spacing) -> dict[str, Any]:
    """Elements that say where slice `index` lies."""
    return {
        "PixelSpacing": [str(spacing[1]), str(spacing[2])],
        "ImagePositionPatient": ["0", "0", f"{index * spacing[0]:.6f}"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "SliceThickness": "0.5",
    }


def write_slices(
    folder: Path, volume: Volume, spacing: Spacing, name: str = "IM{index:04d}.dcm", **elements: Any
) -> Path:
    """A series in which neither names nor numbers tell the order."""
    shuffled = np.random.default_rng(len(volume)).permutation(len(volume))
    for index, values in enumerate(volume):
        about = {"InstanceNumber": int(shuffled[index]) + 1, **place(index, spacing), **elements}
        dataset(values, CTImageStorage, **about).save_as(folder / name.format(index=shuffled[index]))
    return folder


def _packed(syntax: str) -> Any:
    def write(folder: Path, volume: Volume, spacing: Spacing) -> Path:
        for index, values in enumerate(volume):
            made = dataset(values, CTImageStorage, InstanceNumber=index + 1, **place(index, spacing))
            if syntax == RLELossless:
                made.compress(RLELossless)
            else:
                made.PixelData = encapsulate([ENCODERS[syntax](values)])
                made["PixelData"].is_undefined_length = True
                made.file_meta.TransferSyntaxUID = syntax
            made.save_as(folder / f"IM{index:04d}.dcm")
        return folder

    return write


def write_frames(folder: Path, volume: Volume, spacing: Spacing, **elements: Any) -> Path:
    """An enhanced CT: one file of all slices."""
    made = dataset(volume, EnhancedCTImageStorage, NumberOfFrames=len(volume), InstanceNumber=1, **elements)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [str(spacing[1]), str(spacing[2])]
    measures.SliceThickness = str(spacing[0])
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(len(volume)):
        position, group = Dataset(), Dataset()
        position.ImagePositionPatient = ["0", "0", f"{index * spacing[0]:.6f}"]
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = Sequence(groups)
    made.save_as(folder / "scan.dcm")
    return folder / "scan.dcm"


def read_series(source: Path) -> Volume:
    """A folder as SimpleITK reads it."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(source))
    return sitk.GetArrayFromImage(sitk.ReadImage(names))


def read_file(source: Path) -> Volume:
    """A file as SimpleITK reads it."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(source)))


def _header(source: Path) -> list[Part]:
    file = source if source.is_file() else sorted(source.iterdir())[0]
    return [(file, 0, file.read_bytes().index(b"\xe0\x7f\x10\x00") + 12)]


INTEGERS = ("uint8", "uint16", "int16")
FORMATS = [
    FileFormat("DICOM slices", write_slices, read_series, dtypes=INTEGERS, headers=_header),
    FileFormat("DICOM, enhanced", write_frames, read_file, dtypes=INTEGERS, headers=_header),
    *(
        FileFormat(f"DICOM slices, {name}", _packed(syntax), read_series, dtypes=dtypes, headers=_header)
        for name, syntax, dtypes in (
            ("RLE", RLELossless, INTEGERS),
            ("JPEG 2000", JPEG2000Lossless, INTEGERS),
            ("JPEG-LS", JPEGLSLossless, INTEGERS),
            ("lossless JPEG", JPEGLosslessSV1, INTEGERS),
        )
    ),
]
