"""OME-Zarr of versions before 0.4, channels and points in time, and where an image lies."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zarr

from ps3d_core.errors import InputError
from ps3d_core.params import ExportParams, SourceParams
from ps3d_core.scan.export import export
from ps3d_core.scan.sources import open_scan
from ps3d_core.steps.pyramid import build_pyramid
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin, image_spacing
from tests.formats.file_format import SPACING, sample
from tests.formats.zarrs import CHANNEL, TIME, write_five_axes, write_old

VOLUME = sample("uint16")
XML = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
  <Image ID="Image:0"><Pixels ID="Pixels:0" SizeX="13" SizeY="11" SizeZ="7" SizeC="1" SizeT="1" Type="uint16"
    PhysicalSizeX="5.0" PhysicalSizeY="12.5" PhysicalSizeZ="20" PhysicalSizeZUnit="µm"/></Image>
  <Image ID="Image:1"><Pixels ID="Pixels:1" SizeX="9" SizeY="11" SizeZ="7" SizeC="1" SizeT="1" Type="uint16"
    PhysicalSizeX="5.0" PhysicalSizeY="12.5" PhysicalSizeZ="20"/></Image>
</OME>"""


def attributes_of(image, **entries):
    file = Location.parse(image) / ".zattrs"
    file.write_json(file.read_json() | entries)


# --- versions ---


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_no_spacing_before_0_4(tmp_path, version):
    image = write_old(tmp_path, VOLUME, SPACING, version=version)
    (told,) = (Location.parse(image) / ".zattrs").read_json()["multiscales"]
    attributes_of(image, multiscales=[{**told, "metadata": {"pixel size": 0.5}}], pixel_size_um=0.5)
    with open_scan(image) as reader:
        assert (reader.spacing, reader.origin) == (None, (0, 0, 0))
        assert reader.notes == (f"OME-Zarr {version} keeps no spacing",)
        assert reader.without_spacing == reader.notes[0]


def test_a_version_that_is_not_told_follows_from_the_axes(tmp_path):
    for version in ("0.1", "0.3"):
        image = write_old(tmp_path / version, VOLUME, SPACING, version=version)
        (told,) = (Location.parse(image) / ".zattrs").read_json()["multiscales"]
        attributes_of(image, multiscales=[{key: value for key, value in told.items() if key != "version"}])
        with open_scan(image) as reader:
            assert reader.notes == (f"OME-Zarr {version} keeps no spacing",)
            np.testing.assert_array_equal(reader.read(0, 7), VOLUME)


def test_an_image_of_three_axes_that_should_have_five(tmp_path):
    image = write_old(tmp_path, VOLUME, SPACING, version="0.2")
    zarr.open_group(image, mode="r+").create_array("0", data=VOLUME, overwrite=True)
    with pytest.raises(InputError, match=r"axes t, c, z, y, x of .* shape \(7, 11, 13\); .* or give the array"):
        open_scan(image)
    with open_scan(image / "0") as reader:
        np.testing.assert_array_equal(reader.read(0, 7), VOLUME)


def test_old_axes_in_another_order(tmp_path):
    image = write_old(tmp_path, VOLUME, SPACING, version="0.3")
    (told,) = (Location.parse(image) / ".zattrs").read_json()["multiscales"]
    attributes_of(image, multiscales=[{**told, "axes": list("tcxyz")}])
    with pytest.raises(InputError, match="axes t, c, x, y, z; must be z, y, x in this order"):
        open_scan(image)


def test_colours_of_channels_are_no_reason_to_refuse_an_image(tmp_path):
    image = write_old(tmp_path, VOLUME, SPACING, version="0.2")
    attributes_of(image, omero={"channels": [{"color": "no colour"}]})
    assert open_scan(image).shape == VOLUME.shape


# --- the folder of bioformats2raw ---


def bioformats_folder(tmp_path, xml):
    root = tmp_path / "slide"
    zarr.create_group(Location.parse(root).zarr_store(), zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_old(root, VOLUME, SPACING, version="0.2").rename(root / "0")
    (root / "OME").mkdir()
    (root / "OME" / "METADATA.ome.xml").write_text(xml, encoding="utf-8")
    return root


def test_the_spacing_of_an_old_image_may_be_in_its_xml(tmp_path):
    root = bioformats_folder(tmp_path, XML)
    for place in (root, root / "0"):
        with open_scan(place) as reader:
            assert reader.spacing == SPACING
            assert reader.spacing_from == "OME/METADATA.ome.xml, as OME-Zarr 0.2 keeps none"
            assert reader.notes == ()


@pytest.mark.parametrize(
    "xml",
    [
        XML.replace('SizeX="13"', 'SizeX="12"'),
        XML.replace("PhysicalSizeZ=", "Size="),
        XML.replace('Unit="µm"', 'Unit="pixel"'),
        XML[:300],
        "<!DOCTYPE x>" + XML,
        "",
    ],
)
def test_an_xml_that_does_not_fit_says_nothing(tmp_path, xml):
    with open_scan(bioformats_folder(tmp_path, xml)) as reader:
        assert reader.spacing is None


def test_the_second_image_has_the_second_spacing(tmp_path):
    root = bioformats_folder(tmp_path, XML)
    (root / "0").rename(root / "1")
    assert open_scan(root).spacing is None  # the XML says that it is narrower


# --- channels and points in time ---


def test_the_chosen_channel_is_read(tmp_path):
    image = write_five_axes(tmp_path, VOLUME, SPACING)
    with open_scan(image, SourceParams(channel=CHANNEL, time=TIME)) as reader:
        assert reader.description == "Zarr scan.zarr of 7 slices, channel 1 (GFP), time 1"
        assert reader.spacing == pytest.approx(SPACING)
        np.testing.assert_array_equal(reader.read(0, 7), VOLUME)
    with open_scan(image, SourceParams(channel=2, time=0)) as reader:
        np.testing.assert_array_equal(reader.read(2, 5), np.roll(VOLUME, 2, 2)[2:5])


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, r"axes t, c, .* voxels: 3 channels \(0 DAPI, 1 GFP, 2 Cy5\); one is read; choose it with channel"),
        ({"channel": 1}, "2 points in time; one is read; choose it with time"),
        ({"channel": 3, "time": 0}, r"no channel 3; it has 3 channels \(0 DAPI, .*\), from 0; correct channel"),
        ({"channel": 0, "time": 2}, "no time 2; it has 2 points in time, from 0; correct time"),
    ],
)
def test_what_is_not_chosen_is_asked_for(tmp_path, params, told):
    image = write_five_axes(tmp_path, VOLUME, SPACING)
    with pytest.raises(InputError, match=told):
        open_scan(image, SourceParams(**params))


def test_what_is_no_choice(tmp_path):
    place = tmp_path / "scan.zarr"
    zarr.create_array(place, data=VOLUME)
    with pytest.raises(InputError, match="no channel 1; it has 1 channel, from 0"):
        open_scan(place, SourceParams(channel=1))
    assert open_scan(place, SourceParams(channel=0, time=0)).shape == VOLUME.shape


def test_axes_without_names(tmp_path):
    five = np.stack([[VOLUME, VOLUME + 1]])
    zarr.create_array(tmp_path / "bare.zarr", data=five)
    with pytest.raises(InputError, match=r"5-dimensional .* name its axes in its metadata .* \[\"t\", \"c\", \"z\""):
        open_scan(tmp_path / "bare.zarr", SourceParams(channel=1))
    zarr.create_array(tmp_path / "named.zarr", data=five, dimension_names=["t", "c", "z", "y", "x"])
    with open_scan(tmp_path / "named.zarr", SourceParams(channel=1)) as reader:
        np.testing.assert_array_equal(reader.read(0, 7), VOLUME + 1)
    six = np.reshape(np.stack([VOLUME] * 2), (1, 1, 2, *VOLUME.shape))
    zarr.create_array(tmp_path / "six.zarr", data=six)
    with pytest.raises(InputError, match=r"6-dimensional array .*; give an array of three axes$"):
        open_scan(tmp_path / "six.zarr")


def test_absent_chunks_of_other_channels_are_not_counted(tmp_path):
    values = np.zeros((2, 8, 16, 16), np.uint8)
    values[0] = 7
    values[1, :4] = 5
    array = zarr.create_array(
        tmp_path / "scan.zarr", shape=values.shape, dtype="u1", chunks=(1, 4, 8, 8), dimension_names=list("czyx")
    )
    array[...] = values
    assert open_scan(tmp_path / "scan.zarr", SourceParams(channel=0)).notes == ()
    with open_scan(tmp_path / "scan.zarr", SourceParams(channel=1)) as reader:
        assert reader.notes == ("4 of 8 chunks are absent and read as 0",)
    array[1, :4] = 0
    with pytest.raises(InputError, match="not one of its chunks is there"):
        open_scan(tmp_path / "scan.zarr", SourceParams(channel=1))


def test_chunks_that_span_channels_count_whole(tmp_path):
    chunk = (17, 64, 1024, 2048)  # of uint16, 4.2 GiB, a quarter of one of it for one channel
    zarr.create_array(
        tmp_path / "scan.zarr", shape=chunk, dtype="u2", chunks=chunk, dimension_names=["c", "z", "y", "x"]
    )
    with pytest.raises(InputError, match=r"chunks of \(17, 64, 1024, 2048\) voxels, 4\.2 GiB each; the memory budget"):
        open_scan(tmp_path / "scan.zarr", SourceParams(channel=1))


def test_few_large_chunks_are_decoded_at_a_time(tmp_path):
    shape, chunk = (8, 2048, 4096), (1, 2048, 4096)  # 64 MiB each
    array = zarr.create_array(tmp_path / "scan.zarr", shape=shape, dtype="f8", chunks=chunk)
    for index in range(8):
        array[index] = index
    with open_scan(tmp_path / "scan.zarr", SourceParams()) as reader:
        reader.read(0, 1)
        tracemalloc.start()
        try:
            slab = reader.read(0, 8)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert [plane[0, 0] for plane in slab] == list(range(8))
    assert peak < slab.nbytes + 5.5 * 2**26


# --- where an image lies ---


def with_transforms(path, level, of_all=None, unit="millimeter"):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=VOLUME)
    axes = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in "zyx"]
    told = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": level}]}
    group.attrs["multiscales"] = [{**told, **({"coordinateTransformations": of_all} if of_all else {})}]
    return path


def scale(*sides):
    return {"type": "scale", "scale": list(sides)}


def shift(*sides):
    return {"type": "translation", "translation": list(sides)}


@pytest.mark.parametrize(
    ("level", "of_all", "unit", "spacing", "origin"),
    [
        ([scale(1, 2, 3), shift(10, 20, 30)], None, "millimeter", (1, 2, 3), (10, 20, 30)),
        ([scale(1, 2, 3), shift(10, 20, 30)], None, "micrometer", (1e-3, 2e-3, 3e-3), (0.01, 0.02, 0.03)),
        ([scale(1, 2, 3), shift(1, 2, 3)], [scale(2, 2, 2)], "millimeter", (2, 4, 6), (2, 4, 6)),
        ([scale(1, 1, 1)], [scale(2, 3, 4), shift(5, 6, 7)], "millimeter", (2, 3, 4), (5, 6, 7)),
        ([scale(1, 1, 1), shift(5, 6, 7)], None, None, None, (5, 6, 7)),
        ([scale(2, 2, 2), shift(5, 6, 7)], None, None, None, (0, 0, 0)),
        ([scale(2, 2, 2)], None, "millimeter", (2, 2, 2), (0, 0, 0)),
    ],
)
def test_origin(tmp_path, level, of_all, unit, spacing, origin):
    with open_scan(with_transforms(tmp_path / "scan.zarr", level, of_all, unit)) as reader:
        assert reader.spacing == (spacing and pytest.approx(spacing))
        assert reader.origin == pytest.approx(origin)


def test_an_origin_that_is_no_place_is_said(tmp_path):
    image = with_transforms(tmp_path / "scan.zarr", [scale(1, 1, 1), shift(1, float("nan"), 1)])
    with open_scan(image) as reader:
        assert reader.origin == (0, 0, 0)
        assert "must be finite" in reader.notes[0]


def test_a_part_keeps_its_place_from_copy_to_copy(tmp_path):
    zarr.create_array(tmp_path / "scan.zarr", data=np.tile(VOLUME, (2, 2, 2)))
    part, again = tmp_path / "part.zarr", tmp_path / "again.zarr"
    export(str(tmp_path / "scan.zarr"), str(part), ExportParams(format="zarr", crop="1:9,2:,3:"))
    assert (image_spacing(Location.parse(part)), image_origin(Location.parse(part))) == (None, (1, 2, 3))
    export(str(part), str(again), ExportParams(format="zarr", crop="2:,,1:", spacing=(0.5, 0.25, 0.1)))
    assert image_origin(Location.parse(again)) == pytest.approx((1.5, 0.5, 0.4))
    build_pyramid(Location.parse(again), Location.parse(tmp_path / "work"), "1", viewable=4)
    assert image_origin(Location.parse(again)) == pytest.approx((1.5, 0.5, 0.4))
