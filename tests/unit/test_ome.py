from __future__ import annotations

import uuid
from contextlib import suppress
from itertools import product

import numpy as np
import ome_zarr_models
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.steps.pyramid import build_pyramid
from ps3d_core.store.arrays import open_array
from ps3d_core.store.halving import half_shape, halve, level_shapes, method_for
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.ome import (
    create_image,
    image_levels,
    image_spacing,
    is_label_image,
    open_image,
    write_metadata,
)


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def written(location, values, **options):
    array = create_image(location, values.shape, values.dtype, **{"spacing": 0.01, "name": "scan", **options})
    array[:] = values
    return location


def test_image_round_trip_and_metadata(root):
    values = np.arange(70 * 9 * 11, dtype=np.uint16).reshape(70, 9, 11)
    image = written(root / "scan.zarr", values, attributes={"ps3d": {"source": "slices"}})
    assert np.array_equal(open_image(image)[:], values)
    assert open_image(image).dtype == np.uint16
    assert image_spacing(image) == (0.01, 0.01, 0.01)
    assert not is_label_image(image)
    model = ome_zarr_models.open_ome_zarr(image.zarr_store(read_only=True))
    assert isinstance(model, Image)
    multiscale = model.ome_attributes.multiscales[0]
    assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [
        (name, "space", "millimeter") for name in "zyx"
    ]
    assert multiscale.name == "scan"
    assert (image / "zarr.json").read_json()["attributes"]["ps3d"] == {"source": "slices"}


def test_label_image_carries_label_metadata(root):
    image = written(root / "labels.zarr", np.ones((3, 4, 5), np.uint32), label=True)
    model = ome_zarr_models.open_ome_zarr(image.zarr_store(read_only=True))
    assert isinstance(model, ImageLabel)
    assert model.ome_attributes.image_label.version == "0.5"
    assert model.ome_attributes.image_label.colors[0].label_value == 0
    assert is_label_image(image)


def test_labels_must_be_integers(root):
    with pytest.raises(InputError, match="float32 for labels"):
        create_image(root / "labels.zarr", (3, 4, 5), np.float32, spacing=1, name="labels", label=True)
    assert not (root / "labels.zarr").exists()


def test_existing_image_needs_overwrite(root):
    image = written(root / "scan.zarr", np.ones((3, 4, 5), np.uint8))
    with pytest.raises(InputError, match="already exists"):
        create_image(image, (3, 4, 5), np.uint8, spacing=1, name="scan")
    assert open_image(image)[0, 0, 0] == 1
    written(image, np.full((2, 2, 2), 7, np.uint8), overwrite=True)
    assert open_image(image)[:].tolist() == [[[7, 7], [7, 7]], [[7, 7], [7, 7]]]


@pytest.mark.parametrize("spacing", [0, -1.0, float("nan"), (1, 0, 1)])
def test_spacing_must_be_positive(root, spacing):
    with pytest.raises(InputError, match="must be positive"):
        write_metadata(root / "scan.zarr", [(3, 4, 5)], spacing=spacing, name="scan")


def test_unknown_spacing_has_no_unit(root):
    image = written(root / "scan.zarr", np.ones((3, 4, 5), np.uint8), spacing=None)
    assert image_spacing(image) is None
    assert open_image(image).shape == (3, 4, 5)


def test_missing_chunk_of_our_image_is_an_error(root):
    image = written(root / "scan.zarr", np.zeros((3, 4, 5), np.uint8))
    (image / "0" / "c" / "0" / "0" / "0").remove_tree()
    with pytest.raises(MissingDataError, match="missing"):
        open_image(image)[:]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_bare_arrays_open_and_may_leave_out_empty_chunks(tmp_path, zarr_format):
    array = zarr.create_array(
        tmp_path / "bare.zarr", shape=(6, 5, 4), chunks=(2, 5, 4), dtype="u2", zarr_format=zarr_format
    )
    array[2:4] = 3
    location = Location.parse(tmp_path / "bare.zarr")
    assert open_image(location)[:].sum() == 2 * 5 * 4 * 3
    assert image_spacing(location) is None


def ome04(path, *, axes="zyx", unit="micrometer", scale=(2.0, 3.0, 4.0), common=None):
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("full", shape=(2,) * len(axes), dtype="u1", chunks=(2,) * len(axes))[:] = 1
    kinds = {"c": "channel", "t": "time"}
    multiscale = {
        "version": "0.4",
        "axes": [{"name": a, "type": kinds.get(a, "space"), **({} if a in kinds else {"unit": unit})} for a in axes],
        "datasets": [{"path": "full", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}],
    }
    if common:
        multiscale["coordinateTransformations"] = [{"type": "scale", "scale": list(common)}]
    group.attrs["multiscales"] = [multiscale]
    return Location.parse(path)


def test_ome_zarr_04_and_units(tmp_path):
    location = ome04(tmp_path / "a.zarr", common=(10.0, 10.0, 10.0))
    assert open_image(location)[:].sum() == 8
    assert image_spacing(location) == pytest.approx((0.02, 0.03, 0.04))


def test_levels_lie_where_the_metadata_say(root, tmp_path):
    image = written(root / "scan.zarr", np.ones((40, 4, 4), np.uint8))
    build_pyramid(image, root / "work", "f", viewable=16)
    assert image_levels(image) == [image / "0", image / "1", image / "2"]
    assert image_levels(image / "1") == [image / "1"]
    foreign = ome04(tmp_path / "a.zarr")
    assert image_levels(foreign) == [foreign / "full"]


def test_unknown_unit_is_no_spacing(tmp_path):
    assert image_spacing(ome04(tmp_path / "a.zarr", unit="furlong")) is None


@pytest.mark.parametrize(("axes", "told"), [("xyz", "must be z, y, x"), ("czyx", "2 channels; one is read")])
def test_other_axes_are_refused(tmp_path, axes, told):
    with pytest.raises(InputError, match=told):
        open_image(ome04(tmp_path / "a.zarr", axes=axes, scale=(1.0,) * len(axes)))


def test_metadata_may_not_point_outside(tmp_path):
    location = ome04(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group.attrs["multiscales"] = [
        {
            **group.attrs["multiscales"][0],
            "datasets": [
                {"path": "../secret", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}
            ],
        }
    ]
    with pytest.raises(InputError, match="must be inside the image"):
        open_image(location)


def test_what_is_no_image_is_refused(tmp_path):
    location = Location.parse(tmp_path)
    with pytest.raises(MissingDataError, match="nothing there"):
        open_image(location / "absent.zarr")
    (location / "folder").write_text("x")
    with pytest.raises(InputError, match="not a Zarr array"):
        open_image(location / "folder")
    zarr.create_group(tmp_path / "plain.zarr")
    with pytest.raises(InputError, match="not an OME-Zarr"):
        open_image(location / "plain.zarr")
    zarr.create_array(tmp_path / "flat.zarr", shape=(4, 5), dtype="u1")
    with pytest.raises(InputError, match="2-dimensional"):
        open_image(location / "flat.zarr")


# --- metadata that cannot be used ---

NO_METADATA = {
    "empty": b"",
    "text": b"hello",
    "list": b"[1]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "encoding": b"\xff\xfe{",
    "no fields": b"{}",
}
UNKNOWN = {
    3: {
        "codec": {"codecs": [{"name": "bytes"}, {"name": "weird", "configuration": {}}]},
        "dtype": {"data_type": "float99"},
        "shape": {"shape": [-1, 4, 5]},
        "chunks": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 4, 5]}}},
        "fill": {"fill_value": 1e99},
        "version": {"zarr_format": 9},
    },
    2: {
        "codec": {"compressor": {"id": "weird"}},
        "dtype": {"dtype": "<q9"},
        "shape": {"shape": [-1, 4, 5]},
        "chunks": {"chunks": [0, 4, 5]},
        "fill": {"fill_value": "abc"},
        "version": {"zarr_format": 9},
    },
}


def refused_in_one_line(location, match):
    for look in (open_image, image_spacing, is_label_image):
        with suppress(InputError):  # some can do without what is wrong
            look(location)
    with pytest.raises(InputError, match=match) as caught:
        open_image(location)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *product(["image/zarr.json", "image/0/zarr.json", "v3/zarr.json", "v2/.zarray"], NO_METADATA),
        *product(["v2/.zattrs"], ["empty", "text", "deep", "encoding"]),
    ],
)
def test_files_that_are_no_metadata_are_named(root, file, kind):
    written(root / "image", np.ones((3, 4, 5), np.uint8))
    for zarr_format in (2, 3):
        zarr.create_array((root / f"v{zarr_format}").zarr_store(), data=np.ones((3, 4, 5)), zarr_format=zarr_format)
    (root / file).write_bytes(NO_METADATA[kind])
    place = file.rpartition("/")[0]
    refused_in_one_line(
        root / place.split("/")[0], rf"{place}: (metadata of the Zarr cannot be used \(.+\); |a Zarr group)"
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", UNKNOWN[2])
def test_metadata_that_zarr_does_not_know_are_named(root, zarr_format, kind):
    zarr.create_array((root / "scan").zarr_store(), data=np.ones((3, 4, 5), np.uint8), zarr_format=zarr_format)
    file = root / "scan" / ("zarr.json" if zarr_format == 3 else ".zarray")
    file.write_json(file.read_json() | UNKNOWN[zarr_format][kind])
    refused_in_one_line(root / "scan", r"scan: metadata of the Zarr cannot be used \(.+\); restore or export it again")


@pytest.mark.parametrize("path", ["gone", "a\0b", "a" * 5000, "\ud800"])
def test_a_level_that_is_not_there_is_named(root, path):
    image = written(root / "scan", np.ones((3, 4, 5), np.uint8))
    content = (image / "zarr.json").read_json()
    content["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = path
    (image / "zarr.json").write_json(content)
    refused_in_one_line(image, r"scan: metadata of the Zarr cannot be used \(.*level 0.*\); restore or export it again")


def test_attributes_that_are_none_are_named(root):
    image = written(root / "scan", np.ones((3, 4, 5), np.uint8))
    (image / "zarr.json").write_json({"zarr_format": 3, "node_type": "group", "attributes": [1]})
    refused_in_one_line(image, "scan: metadata of the Zarr cannot be used")


# --- resolution levels ---


def test_known_means_and_modes():
    block = np.array([[[0, 0, 9], [0, 4, 9]], [[4, 4, 1], [4, 4, 2]]], np.uint8)
    assert halve(block, "mean").tolist() == [[[3, 5]]]  # 20 / 8 = 2.5 and 21 / 4 = 5.25, halves up
    assert halve(block, "mode").tolist() == [[[4, 9]]]
    assert halve(np.array([[[7, 3]]], np.uint32), "mode").tolist() == [[[3]]]  # a tie goes to the lower id
    assert halve(block, "nearest").tolist() == [[[0, 9]]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4"])
def test_extreme_values_do_not_overflow(dtype):
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        block = np.full((2, 3, 2), value, dtype)
        assert (halve(block, method_for(dtype, label=False)) == value).all()


@given(
    st.one_of(
        hnp.arrays("i2", hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)),
        hnp.arrays("f4", hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.floats(-9, 9, width=32)),
    )
)
def test_mean_is_the_mean_of_the_voxels_there(block):
    coarse = halve(block, "mean")
    assert coarse.shape == half_shape(block.shape)
    assert coarse.dtype == block.dtype
    for z, y, x in np.ndindex(coarse.shape):
        mean = block[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(dtype="f8")
        if block.dtype.kind == "f":
            assert coarse[z, y, x] == pytest.approx(mean, abs=1e-5)
        else:
            assert coarse[z, y, x] == np.floor(mean + 0.5)


@given(hnp.arrays("u4", hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 4)))
def test_mode_is_a_most_frequent_id(block):
    coarse = halve(block, "mode")
    for z, y, x in np.ndindex(coarse.shape):
        part = block[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        ids, counts = np.unique(part, return_counts=True)
        assert coarse[z, y, x] == ids[counts.argmax()]


@given(st.tuples(*[st.integers(1, 3000)] * 3))
def test_levels_end_when_they_are_small(shape):
    shapes = level_shapes(shape)
    assert shapes[0] == shape
    assert max(shapes[-1]) < 256
    assert all(max(finer) >= 256 for finer in shapes[:-1])


def test_pyramid_equals_halving_the_whole(root):
    rng = np.random.default_rng(0)
    for label, dtype in ((True, np.uint32), (False, np.uint16)):
        values = rng.integers(0, 5, (3, 150, 131)).astype(dtype)
        image = written(root / f"{label}.zarr", values, label=label, spacing=0.5, attributes={"ps3d": {"kept": True}})
        context = Context(Runner(workers=2))
        shapes = build_pyramid(image, root / f"work-{label}", "f", viewable=40, context=context)
        assert shapes == [(3, 150, 131), (2, 75, 66), (1, 38, 33)]
        expected = values
        for level in (1, 2):
            expected = halve(expected, "mode" if label else "mean")
            assert np.array_equal(open_array(image / str(level))[:], expected)
        model = ome_zarr_models.open_ome_zarr(image.zarr_store(read_only=True))
        assert isinstance(model, ImageLabel if label else Image)
        (scale, shift) = model.ome_attributes.multiscales[0].datasets[2].coordinateTransformations
        assert scale.scale == [2.0, 2.0, 2.0]
        assert shift.translation == [0.75, 0.75, 0.75]  # (4 - 1) / 2 voxels of 0.5 mm
        assert model.ome_attributes.multiscales[0].type == ("mode" if label else "mean")
        assert (image / "zarr.json").read_json()["attributes"]["ps3d"] == {"kept": True}
        assert image.children() == ["0", "1", "2", "zarr.json"]


def test_a_side_of_one_voxel_keeps_its_scale(root):
    image = written(root / "flat.zarr", np.ones((1, 64, 64), np.uint8), spacing=1.0)
    build_pyramid(image, root / "work", "f", viewable=33)
    model = ome_zarr_models.open_ome_zarr(image.zarr_store(read_only=True))
    scale, shift = model.ome_attributes.multiscales[0].datasets[1].coordinateTransformations
    assert (scale.scale, shift.translation) == ([1.0, 2.0, 2.0], [0.0, 0.5, 0.5])


def test_interrupted_pyramid_goes_on(root):
    values = np.random.default_rng(0).integers(0, 9, (4, 300, 40)).astype(np.uint8)
    image = written(root / "scan.zarr", values)
    build_pyramid(image, root / "work", "f", viewable=200)
    first = (image / "1" / "c" / "0" / "0" / "0").read_bytes()
    (mark,) = (root / "work" / "ledger" / "pyramid-1").children()
    records = Ledger(root / "work", "pyramid-1", mark)
    assert sorted(records.finished()) == [0, 1]
    # As after a crash: one block is done, the other is not recorded and its data are lost.
    (records.location / "1.json").remove_tree()
    (image / "1" / "c" / "0" / "1" / "0").remove_tree()
    build_pyramid(image, root / "work", "f", viewable=200)
    assert np.array_equal(open_array(image / "1")[:], halve(values, "mean"))
    assert (image / "1" / "c" / "0" / "0" / "0").read_bytes() == first
