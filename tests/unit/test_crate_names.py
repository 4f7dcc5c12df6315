"""What is published of a run names files, and nothing of the machine or the store that they lay on."""

import pytest

from ps3d_core.crate import published_name


@pytest.mark.parametrize(
    ("said", "published"),
    [
        ("/home/Jane Doe/scans/ore.zarr", "ore.zarr"),
        (r"C:\Users\Jane Doe\ore.csv", "ore.csv"),
        ("s3://key:secret@bucket/a/ore.csv", "ore.csv"),
        ("https://lab.example/ore.zarr?token=secret#part", "ore.zarr"),
        ("https://lab.example/ore.zarr?file=/home/jane", "ore.zarr"),
        ("high=/home/Jane Doe, PhD/high energy.zarr", "high=high energy.zarr"),
        ("high=s3://bucket/a=b/high.zarr/", "high=high.zarr"),
        ("/a:b/c d=e/ore.zarr", "ore.zarr"),
        ("cylinder:12.5,20,8mm", "cylinder:12.5,20,8mm"),
        ("pyrite=high:0.5:0.9", "pyrite=high:0.5:0.9"),
        (0.5, 0.5),
    ],
)
def test_of_a_place_the_name_is_published_alone(said, published):
    assert published_name(said) == published
