"""Which of the files in a folder are scans, and which belong to another."""

from __future__ import annotations

import pytest

from ps3d_core.scan.companions import (
    FILE_SUFFIXES,
    is_without_ending,
    scan_files,
    stem_and_ending,
    together,
    voxel_files,
)


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
        (["a.vol", "a.pca", "a.pcr"], ["a.pcr"]),
        (["a.raw", "a.raw.info", "a.vgi"], ["a.vgi"]),
        (["a.raw", "a.vgi", "a.mhd"], ["a.mhd"]),
        (["a.nhdr", "a.raw.gz"], ["a.nhdr"]),
        (["a.raw.bz2"], ["a.raw.bz2"]),
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


@pytest.mark.parametrize(
    "names",
    [
        ["a.tif", "a.log"],
        ["a.tif", "a.xtekct"],
        ["a.ome.tif", "a.log"],
        ["a.vol", "a.vol.info"],
        ["a.vol", "a.pcr", "a.pca"],
        ["a.nhdr", "a.raw.gz"],
        ["a.mhd", "a.zraw"],
        ["a.hdr.gz", "a.img.gz"],
    ],
)
def test_files_of_one_scan_are_together(names):
    groups = together([*names, "b.tif", "notes.txt", "other.log"])
    assert [sorted(group) for group in groups.values()] == [sorted(names), ["b.tif"]]


def test_voxels_without_their_headers():
    assert voxel_files(["a.vgi", "a.raw", "b.raw.gz", "c.tif"]) == ["a.raw", "b.raw.gz"]


@pytest.mark.parametrize(
    ("name", "has_none"), [("IM0001", True), ("IM.0001", True), ("1.2.840.7", True), ("a.txt", False)]
)
def test_names_without_an_ending(name, has_none):
    assert is_without_ending(name) == has_none
