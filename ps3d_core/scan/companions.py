"""Which of the files that lie together a person would give as a scan, and which belong to another: by their names.

Of a header and the voxels beside it that is the header, of several logs of the same voxels the one that says most. A
scanner's log is a scan only beside voxels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Final

from ps3d_core.scan.suffixes import (
    AMIRA_SUFFIXES,
    DICOM_SUFFIXES,
    HDF5_SUFFIXES,
    ISQ_SUFFIXES,
    LOG_SUFFIXES,
    METAIMAGE_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    PACKED_ZARR_SUFFIXES,
    PAIR_SUFFIXES,
    PICTURE_SUFFIXES,
    RAW_HEADER_SUFFIXES,
    RAW_SUFFIXES,
    TIFF_SUFFIXES,
    XRM_SUFFIXES,
)

SLICE_SUFFIXES: Final = (*TIFF_SUFFIXES, *PICTURE_SUFFIXES, *DICOM_SUFFIXES)
"""Of files that may be slices of one scan."""
_PACKED_RAW: Final = tuple(f"{voxels}{packing}" for voxels in RAW_SUFFIXES for packing in (".gz", ".bz2"))
_VOXELS: Final = (*RAW_SUFFIXES, *_PACKED_RAW, ".zraw", *(ending for ending in PAIR_SUFFIXES if ".img" in ending))
_HEADERS: Final = (*METAIMAGE_SUFFIXES, *NRRD_SUFFIXES, *(ending for ending in PAIR_SUFFIXES if ".hdr" in ending))
_LISTS: Final = (".mhd", ".nhdr")
"""Headers that may name many files of voxels; one without voxels of its own name is taken to."""
_OTHERS: Final = (
    *PACKED_ZARR_SUFFIXES,
    *NIFTI_SUFFIXES,
    *HDF5_SUFFIXES,
    *XRM_SUFFIXES,
    *ISQ_SUFFIXES,
    *AMIRA_SUFFIXES,
)
FILE_SUFFIXES: Final = (*SLICE_SUFFIXES, *_OTHERS, *_HEADERS, *_VOXELS, *RAW_HEADER_SUFFIXES)
"""Of all files that are a scan or a part of one; longer endings come before those that they end in."""


def stem_and_ending(name: str) -> tuple[str, str] | None:
    """Return the name of a scan's file without its ending, and the ending in lower case; None for any other file."""
    ending = next((ending for ending in FILE_SUFFIXES if name.lower().endswith(ending)), None)
    return None if ending is None else (name[: -len(ending)], ending)


def scan_files(names: Collection[str]) -> list[str]:
    """Return those of the files in one folder that a person would give as a scan each, sorted.

    `names` may be paths, all in the same folder. Slices are returned one by one.
    """
    known = {name: parts for name in names if (parts := stem_and_ending(name)) is not None}
    voxels = {stem for stem, ending in known.values() if ending in _VOXELS}
    headed = {stem for stem, ending in known.values() if ending in _HEADERS}
    chosen = {name for name, (_, ending) in known.items() if ending not in RAW_HEADER_SUFFIXES}
    for preferred in RAW_HEADER_SUFFIXES:  # of several logs of the same voxels one is given
        for name, (stem, ending) in known.items():
            if ending == preferred and _is_of(stem, voxels) and not _is_of(stem, headed):
                chosen.add(name)
                headed.add(stem)
    alone = [name for name in chosen if known[name][1] in _LISTS and known[name][0] not in voxels]
    return sorted(
        name
        for name in chosen
        if known[name][1] not in _VOXELS
        or not (len(alone) == 1 or any(_is_of(header, {known[name][0]}) for header in headed))
    )


def voxel_files(names: Collection[str]) -> list[str]:
    """Return those of the files in one folder that by their names are voxels without a header, sorted."""
    known = {name: parts for name in names if (parts := stem_and_ending(name)) is not None}
    return sorted(name for name, (_, ending) in known.items() if ending in _VOXELS)


def together(names: Collection[str]) -> dict[str, list[str]]:
    """Return which files of one folder belong to one scan by their names, under what these have in common.

    A header is called like the voxels, or like them with their ending (scan.vol.info); a log like a file of the scan.
    Files of no scan are left out.
    """
    known = {name: parts for name in names if (parts := stem_and_ending(name)) is not None}
    voxels = {stem for stem, ending in known.values() if ending in _VOXELS}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, (stem, ending) in known.items():
        groups[_stem_of_voxels(stem, voxels) if ending in RAW_HEADER_SUFFIXES else stem].append(name)
    for name in set(names) - known.keys():
        stem = next((name[: -len(ending)] for ending in LOG_SUFFIXES if name.lower().endswith(ending)), "")
        if group := next((each for each in (stem, f"{stem}.ome") if each in groups), None):
            groups[group].append(name)
    return dict(groups)


def is_without_ending(name: str) -> bool:
    """Return whether the name of a file has no ending but numbers, as those of DICOM files: IM0001, 1.2.840.113619."""
    return "." not in name.rstrip(".0123456789")


def _stem_of_voxels(header: str, voxels: Collection[str]) -> str:
    """What a header and its voxels have in common: scan of scan.vol.info, where there is scan.vol."""
    stems = (header[: -len(ending)] for ending in _VOXELS if header.lower().endswith(ending))
    return next((stem for stem in stems if stem in voxels), header)


def _is_of(header: str, stems: Collection[str]) -> bool:
    """Whether a header is that of voxels: named like them, or like them with their ending, scan.vol.info."""
    return header in stems or _stem_of_voxels(header, stems) in stems
