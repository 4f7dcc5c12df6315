"""What a summary shows of a result: the same figures as the report, in small pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Literal

import imagecodecs
import numpy as np
import pytest
import zarr

from ps3d_core.measuring.measure import measure_particles
from ps3d_core.particles import preview
from ps3d_core.steps.pyramid import build_pyramid
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, open_image

SHAPE = (40, 48, 96)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Three boxes of 8, 64 and 1000 voxels, of grey value 200 on 50, with coarser levels."""
    place = Location.parse(tmp_path_factory.mktemp("preview"))
    labels = np.zeros(SHAPE, np.uint32)
    for label, (start, side) in enumerate([(2, 2), (6, 4), (15, 10)], 1):
        labels[start : start + side, start : start + side, start : start + side] = label
    labels[20, 24, 40:90] = 4  # a needle through the middle, so that every picture shows something
    for name, voxels in (("labels", labels), ("image", np.where(labels, 200, 50).astype(np.uint8))):
        is_label = name == "labels"
        create_image(place / name, SHAPE, str(voxels.dtype), spacing=0.1, name=name, label=is_label)[:] = voxels
        build_pyramid(place / name, place / f"work-{name}", "f", viewable=16)
    measure_particles(place / "labels", place, image=place / "image", spacing=0.1, work=place / "work")
    return place


def test_figures(place: Location) -> None:
    sample = preview.sample_of(place / "labels", place / "particles.parquet", 0.1)
    largest = preview.largest_rows(sample)
    assert [row["label"] for row in largest] == [3, 2, 4, 1]
    assert largest[0]["volume_mm3"] == 1.0
    assert largest[0]["diameter_mm"] == pytest.approx((6 / np.pi) ** (1 / 3), rel=1e-3)
    assert {row["at_edge"] for row in largest} == {"no"}
    assert largest[0]["centroid_zyx_mm"] == "1.95, 1.95, 1.95"
    rows = preview.size_rows(sample)
    assert [row["percentile"] for row in rows] == ["D10", "D50", "D90"]
    assert rows[1]["by_number_mm"] < rows[1]["by_volume_mm"] <= largest[0]["diameter_mm"]


def test_curve_is_a_file_of_its_own(place: Location) -> None:
    sample = preview.sample_of(place / "labels", place / "particles.parquet", 0.1)
    root = ElementTree.fromstring(preview.size_curve(sample))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root[0].tag.endswith("style")


@pytest.mark.parametrize("max_side", [16, 30, 200])
def test_pictures_come_from_the_level_that_fits(place: Location, max_side: int) -> None:
    found = dict(preview.pictures(place / "labels", place / "image", max_side))
    assert set(found) == {"z", "y", "x"}
    for jpeg in found.values():
        pixels = imagecodecs.jpeg_decode(jpeg)
        assert pixels.shape[2] == 3
        assert max(pixels.shape) <= 4 * max_side
    level = {16: "2", 30: "1", 200: "0"}[max_side]
    chosen = preview._coarse_levels(place / "labels", place / "image", max_side)
    assert chosen == (place / "labels" / level, place / "image" / level)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_scan_may_be_a_bare_array(place: Location, zarr_format: Literal[2, 3]) -> None:
    """Users of ParticleSeg3D have those. It has no coarser level, so neither image is shown on one."""
    bare = place / f"bare{zarr_format}.zarr"
    array = zarr.create_array(bare.zarr_store(), shape=SHAPE, chunks=(16,) * 3, dtype="u1", zarr_format=zarr_format)
    array[:] = open_image(place / "image")[:]
    for max_side in (16, 200):
        expected = preview.pictures(place / "labels" / "0", place / "image" / "0", max_side)
        assert preview.pictures(place / "labels", bare, max_side) == expected


def test_levels_of_the_scan_may_have_names_and_be_absent(place: Location) -> None:
    group = zarr.create_group((place / "named.zarr").zarr_store(), zarr_format=2)
    group.create_array("full", shape=SHAPE, chunks=SHAPE, dtype="u1")[:] = open_image(place / "image")[:]
    scale = [{"type": "scale", "scale": [0.1, 0.1, 0.1]}]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"],
            "datasets": [{"path": path, "coordinateTransformations": scale} for path in ("full", "lost")],
        }
    ]
    for max_side in (16, 200):
        expected = preview.pictures(place / "labels" / "0", place / "image" / "0", max_side)
        assert preview.pictures(place / "labels", place / "named.zarr", max_side) == expected


def test_outlines_lie_over_grey_values(place: Location) -> None:
    """Colours come from outlines only; what is grey is the scan."""
    pixels = imagecodecs.jpeg_decode(dict(preview.pictures(place / "labels", place / "image", 200))["z"])
    coloured = np.ptp(pixels.astype(int), axis=2) > 60
    assert 0 < coloured.mean() < 0.2


def test_without_an_image(place: Location) -> None:
    assert len(preview.pictures(place / "labels", None, 64)) == 3
