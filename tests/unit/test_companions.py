"""Which of the files in a folder are scans, and which belong to another."""

from __future__ import annotations

import pytest

from ps3d_core.scan.companions import FILE_SUFFIXES, scan_files, stem_and_ending


@pytest.mark.parametrize(
    ("names", "scans"),
    [
        (["a.mhd", "a.raw", "b.mha"], ["a.mhd", "b.mha"]),
        (["a.hdr", "a.img"], ["a.hdr"]),
        (["a.raw"], ["a.raw"]),
        (["a.vol", "a.vgi"], ["a.vgi"]),
        (["a.vol", "a.vol.info"], ["a.vol.info"]),
        (["a.tif", "a.pca", "a.dat"], ["a.tif"]),
        (["a.pca"], []),
        (["all.mhd", "s_0.raw", "s_1.raw"], ["all.mhd"]),
        (["a.vol", "a.vgi", "a.pcr", "a.pca"], ["a.vgi"]),
        (["a.vol", "a.pca", "a.vol.info"], ["a.pca"]),
        (["a.raw", "a.mhd", "a.dat"], ["a.mhd"]),
        (["a.nhdr", "a.raw", "b.raw"], ["a.nhdr", "b.raw"]),
        (["C1.ISQ;1", "x.txt", "y.nii.gz"], ["C1.ISQ;1", "y.nii.gz"]),
        (["in/a.mhd", "in/a.zraw"], ["in/a.mhd"]),
        (["s_1.png", "s_2.png"], ["s_1.png", "s_2.png"]),
    ],
)
def test_of_header_and_voxels_the_header(names, scans):
    assert scan_files(names) == scans


def test_the_longest_ending_counts():
    assert stem_and_ending("a.NII.gz") == ("a", ".nii.gz")
    assert stem_and_ending("a.zarr.zip") == ("a", ".zarr.zip")
    assert stem_and_ending("a.hdr.gz") == ("a", ".hdr.gz")
    assert stem_and_ending("a.json") is None
    for index, ending in enumerate(FILE_SUFFIXES):
        assert not any(ending.endswith(other) for other in FILE_SUFFIXES[:index])
