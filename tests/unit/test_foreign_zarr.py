"""Zarr arrays of other programs: what they may hold, what is said of it, and what is refused before it is decoded."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import os
import shutil
import uuid
import zlib
from contextlib import suppress

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import LZ4, Blosc, Zstd
from zarr.core.sync import sync

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.scan.sources import open_scan
from ps3d_core.scan.zarr_volume import ZarrVolume
from ps3d_core.store.arrays import read_box
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_levels, image_spacing, open_image
from ps3d_core.store.presence import absences
from ps3d_core.store.unpacking import COMPRESSORS, unpacked_bytes

SHAPE = (24, 40, 32)
VOXELS = np.random.default_rng(0).integers(1, 2**16, SHAPE).astype(np.uint16)


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def foreign(location, values=VOXELS, **options):
    options = {"chunks": (8,) * values.ndim, "zarr_format": 2, **options}
    array = zarr.create_array(
        location.zarr_store(), shape=values.shape, dtype=options.pop("dtype", values.dtype), **options
    )
    array[...] = values
    return location


def ours(location, values, **options):
    shape, small = values.shape, {"chunks": (8, 8, 8), "shards": (16, 16, 16)}
    array = create_image(location, shape, values.dtype, spacing=0.01, name="ore", **small, **options)
    array[...] = values
    return location


def voxels_of(location):
    array = open_image(location)
    return read_box(array, Box.of(array.shape))


def mended(file, **entries):
    file.write_json(file.read_json() | entries)


# --- chunks that are not there ---


def test_an_array_without_chunks_is_no_scan_of_zeros(root):
    for zarr_format in (2, 3):
        place = root / f"v{zarr_format}"
        zarr.create_array(place.zarr_store(), shape=SHAPE, dtype="u2", chunks=(8, 8, 8), zarr_format=zarr_format)
        for read in (ZarrVolume, voxels_of):
            with pytest.raises(InputError, match=rf"v{zarr_format}: not one of its chunks is there; copy them"):
                read(place)


@pytest.mark.parametrize("told", ["/", "."])
def test_the_wrong_separator_is_named(root, told):
    lying = {"/": ".", ".": "/"}[told]
    second = foreign(root / "v2", chunk_key_encoding={"name": "v2", "separator": lying})
    third = foreign(root / "v3", zarr_format=3, chunk_key_encoding=named_by(lying))
    mended(second / ".zarray", dimension_separator=told)
    mended(third / "zarr.json", chunk_key_encoding=named_by(told))
    for place in (second, third):
        for read in (ZarrVolume, voxels_of):
            with pytest.raises(
                InputError, match=rf'0\{lying}0\{lying}0, but the metadata say .*0\{told}0\{told}0; .* is "\{lying}"'
            ):
                read(place)


def named_by(separator):
    return {"name": "default", "configuration": {"separator": separator}}


def test_some_chunks_may_be_absent_and_that_is_said(root):
    values = np.zeros(SHAPE, np.uint16)
    values[:8, :8, :16] = 5
    for zarr_format in (2, 3):
        place = foreign(root / f"v{zarr_format}", values, zarr_format=zarr_format)
        with open_scan(place) as reader:
            assert reader.notes == ("58 of 60 chunks are absent and read as 0",)
            np.testing.assert_array_equal(reader.read(0, 24), values)
    assert open_scan(foreign(root / "whole")).notes == ()


def test_chunks_beyond_the_shape_are_said(root):
    place = foreign(root / "scan")
    mended(place / ".zarray", shape=[24, 16, 32])
    with open_scan(place) as reader:
        assert reader.notes == ("36 chunks lie beyond its shape, (24, 16, 32), and are not read",)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"scale_factor": 0.5, "add_offset": -1000}, "scale_factor 0.5 and add_offset -1000"),
        ({"scale_factor": 1.0, "add_offset": 3}, "add_offset 3"),
        ({"scale_factor": 1.0, "add_offset": 0.0, "units": "HU"}, None),
    ],
)
def test_factor_and_offset_are_said_and_not_applied(root, zarr_format, attributes, told):
    place = foreign(root / "scan", zarr_format=zarr_format, attributes=attributes)
    with open_scan(place) as reader:
        notes = f"its attributes say {told}, which are not applied: voxels are taken as they are stored"
        assert reader.notes == ((notes,) if told else ())
        np.testing.assert_array_equal(reader.read(0, 24), VOXELS)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_of_another_shape_than_the_metadata_say_are_refused(root, zarr_format):
    place = foreign(root / "scan", chunks=(8, 16, 16), zarr_format=zarr_format)
    if zarr_format == 2:
        mended(place / ".zarray", chunks=[8, 32, 8])
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": [8, 32, 8]}}
        mended(place / "zarr.json", chunk_grid=grid)
    with pytest.raises(InputError, match=r"12 of 24 chunks are absent while 6 lie .* not of \(8, 32, 8\) voxels"):
        open_scan(place)


# --- arrays of this project that another program wrote to ---


def edited(place, box):
    """As a person does it: plain zarr-python, which leaves out what is empty."""
    zarr.open_array((place / "0").zarr_store(), mode="r+")[box] = 0


def test_a_chunk_of_ours_that_another_program_emptied_reads_as_zeros_and_is_said(root):
    values = np.random.default_rng(1).integers(1, 9, SHAPE).astype(np.uint32)
    labels = ours(root / "labels", values, label=True)
    assert absences(open_image(labels)) == ()
    edited(labels, np.s_[:8, 8:16, :8])
    values[:8, 8:16, :8] = 0
    note = "another program wrote here: it left out 1 of 60 chunks, which are read as 0"
    with open_scan(labels) as reader:
        assert reader.notes == (note,)
        np.testing.assert_array_equal(reader.read(0, 24), values)


def test_a_whole_shard_that_is_gone_is_never_read_as_zeros(root):
    values = np.random.default_rng(1).integers(1, 9, SHAPE).astype(np.uint32)
    labels = ours(root / "labels", values, label=True)
    edited(labels, np.s_[:16, 16:32, :16])
    for read in (ZarrVolume, voxels_of):
        with pytest.raises(MissingDataError, match=r"labels/0/c/0/1/0: this chunk is missing; .*write_empty_chunks"):
            read(labels)
    # What the message advises helps.
    array = zarr.open_array((labels / "0").zarr_store(), mode="r+").with_config({"write_empty_chunks": True})
    array[:16, 16:32, :16] = 0
    values[:16, 16:32, :16] = 0
    np.testing.assert_array_equal(voxels_of(labels), values)
    assert absences(open_image(labels)) == ()


@settings(max_examples=15)
@given(st.lists(st.tuples(*[st.integers(0, n - 1) for n in (3, 4, 4)]), max_size=6))
def test_whatever_another_program_empties_is_read_right_or_named(chunks):
    values = np.random.default_rng(2).integers(1, 9, (20, 27, 32)).astype(np.uint8)
    labels = ours(Location.parse(f"memory://{uuid.uuid4().hex}"), values, label=True)
    for chunk in chunks:
        box = tuple(slice(8 * at, 8 * at + 8) for at in chunk)
        edited(labels, box)
        values[box] = 0
    try:
        notes = absences(open_image(labels))
    except MissingDataError:
        return
    np.testing.assert_array_equal(voxels_of(labels), values)
    left_out = len(set(chunks))
    assert notes == (
        (f"another program wrote here: it left out {left_out} of 48 chunks, which are read as 0",) if left_out else ()
    )


# --- axes, groups, units ---


def ome(path, axes="zyx", *, values=VOXELS, zarr_format=2, scale=None, unit="micrometer", **entries):
    values = values.reshape([values.shape["zyx".index(axis)] if axis in "zyx" else 1 for axis in axes])
    group = zarr.create_group(path.zarr_store(), zarr_format=zarr_format)
    group.create_array("full", shape=values.shape, dtype=values.dtype, chunks=(8,) * values.ndim)[...] = values
    told = [
        {
            "name": axis,
            "type": {"t": "time", "c": "channel"}.get(axis, "space"),
            **({"unit": unit} if axis in "zyx" else {}),
        }
        for axis in axes
    ]
    multiscale = {
        "axes": told,
        "datasets": [
            {
                "path": "full",
                "coordinateTransformations": [{"type": "scale", "scale": list(scale or [2.0] * len(axes))}],
            }
        ],
        **entries,
    }
    if zarr_format == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **multiscale}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "tzyx"])
def test_axes_of_length_1_are_left_out(root, axes, zarr_format):
    image = ome(root / "scan", axes, zarr_format=zarr_format)
    with open_scan(image) as reader:
        assert (reader.shape, reader.spacing, reader.notes) == (SHAPE, (0.002, 0.002, 0.002), ())
        np.testing.assert_array_equal(reader.read(5, 17), VOXELS[5:17])
    array, box = open_image(image), Box((3, 5, 7), (20, 33, 30))
    assert (array.shape, array.ndim, array.chunks, array.shards) == (SHAPE, 3, (8, 8, 8), None)
    np.testing.assert_array_equal(read_box(array, box), VOXELS[box.slices])
    into = np.empty(box.shape, np.int32)
    np.testing.assert_array_equal(read_box(array, box, into), VOXELS[box.slices])
    np.testing.assert_array_equal(array[:], VOXELS)
    np.testing.assert_array_equal(voxels_of(image_levels(image)[0]), VOXELS)


@pytest.mark.parametrize("axes", ["xyz", "yxz", "tcxyz", "cyx"])
def test_axes_in_another_order_are_named(root, axes):
    image = ome(root / "scan", axes, values=VOXELS[:, :, :8] if axes != "cyx" else VOXELS[:1])
    for look in (open_image, image_levels):
        with pytest.raises(InputError, match=f"axes {', '.join(axes)}; must be z, y, x"):
            look(image)


@pytest.mark.parametrize("names", [("x", "y", "z"), ("T", "Y", "X")])
def test_an_array_may_name_its_axes_itself(root, names):
    third = foreign(root / "v3", zarr_format=3, dimension_names=names)
    second = foreign(root / "v2", attributes={"_ARRAY_DIMENSIONS": list(names)})
    for place in (second, third):
        with pytest.raises(InputError, match=f"axes {', '.join(names).lower()}; must be z, y, x"):
            open_image(place)
    np.testing.assert_array_equal(
        voxels_of(foreign(root / "named", zarr_format=3, dimension_names=("depth", "b", "a"))), VOXELS
    )


def test_several_channels_are_refused(root):
    image = foreign(
        root / "scan", np.zeros((2, 8, 8, 8), np.uint8), zarr_format=3, dimension_names=("c", "z", "y", "x")
    )
    with pytest.raises(InputError, match=r"axes c, z, y, x of \(2, 8, 8, 8\) voxels: 2 channels; one is .* export one"):
        open_image(image)
    with pytest.raises(InputError, match=r"4-dimensional array .*, or say which axis is which; name its axes"):
        open_image(foreign(root / "bare", np.zeros((2, 8, 8, 8), np.uint8)))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_folder_that_bioformats2raw_makes(root, zarr_format):
    layout = {"bioformats2raw.layout": 3}
    group = zarr.create_group((root / "scan").zarr_store(), zarr_format=zarr_format)
    group.attrs.update(layout if zarr_format == 2 else {"ome": {"version": "0.5", **layout}})
    zarr.create_group((root / "scan" / "OME").zarr_store(), zarr_format=zarr_format).attrs["series"] = ["0"]
    first = ome(root / "scan" / "0", "tczyx", zarr_format=zarr_format)
    np.testing.assert_array_equal(voxels_of(root / "scan"), VOXELS)
    assert image_spacing(root / "scan") == (0.002, 0.002, 0.002)
    assert image_levels(root / "scan") == [first / "full"]
    ome(root / "scan" / "1", "tczyx", zarr_format=zarr_format)
    with pytest.raises(InputError, match=r"a folder of 2 images \(.*scan/0, .*scan/1\); give one of them"):
        open_image(root / "scan")


def test_other_groups_are_told_by_their_kind(root):
    for kind, attributes in {
        "a plate of many images; give one": {"plate": {"wells": []}},
        "a well of several images; give one": {"well": {"images": []}},
        "a group of label images; give one of them: nuclei, cells": {"labels": ["nuclei", "cells"]},
        "OME-Zarr '0.9'; 0.1 to 0.5 are read; give its array, .*scan.*/s0": {
            "multiscales": [{"version": "0.9", "axes": ["z", "y", "x"], "datasets": [{"path": "s0"}]}]
        },
    }.items():
        place = root / f"scan-{uuid.uuid4().hex}"
        zarr.create_group(place.zarr_store(), zarr_format=2).attrs.update(attributes)
        with pytest.raises(InputError, match=kind):
            open_image(place)


def test_a_group_of_two_images_names_both(root):
    image = ome(root / "scan")
    attributes = (image / ".zattrs").read_json()
    (one,) = attributes["multiscales"]
    two = one | {"datasets": [one["datasets"][0] | {"path": "half"}]}
    mended(image / ".zattrs", multiscales=[one, two])
    with pytest.raises(
        InputError, match=r"2 images in one group; give the array of one of them: .*scan/full, .*scan/half"
    ):
        open_image(image)


@pytest.mark.parametrize("unit", ["um", "µm", "μm", "micron", "Microns", "micrometre", "MICROMETERS"])
def test_units_by_other_names(root, unit):
    assert image_spacing(ome(root / "scan", unit=unit)) == (0.002, 0.002, 0.002)


@pytest.mark.parametrize(
    ("unit", "mm"), [("nm", 1e-6), ("mm", 1.0), ("cm", 10.0), ("m", 1000.0), ("Å", 1e-7), ("inches?", None)]
)
def test_short_units(root, unit, mm):
    assert image_spacing(ome(root / "scan", unit=unit)) == (None if mm is None else (2 * mm,) * 3)


@pytest.mark.parametrize("scale", ["NaN", "Infinity", "-Infinity", 0, -1.5])
def test_a_scale_that_no_voxel_has_is_said(root, scale):
    image = ome(root / "scan")
    text = (image / ".zattrs").read_text().replace("2.0", str(scale), 1)
    (image / ".zattrs").write_text(text)
    with pytest.raises(InputError, match=r"a scale of .* must be finite and above 0"):
        image_spacing(image)
    with open_scan(image) as reader:
        assert reader.spacing is None
        assert "must be finite and above 0" in reader.notes[0]


# --- types and orders ---


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", "<f8", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_orders_and_orders_of_axes(root, dtype, order):
    image = foreign(root / "scan", dtype=np.dtype(dtype), order=order)
    values = voxels_of(image)
    assert values.dtype.isnative
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values, VOXELS.astype(dtype))
    with open_scan(image) as reader:
        assert reader.read(0, 2).dtype == reader.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "c8", "S4", "U4", [("a", "i4")]])
def test_types_that_are_no_voxels_are_named(root, dtype, zarr_format):
    place = root / "scan"
    zarr.create_array(place.zarr_store(), shape=(4, 5, 6), dtype=np.dtype(dtype), zarr_format=zarr_format)
    with pytest.raises(InputError, match=r"voxels of type .*; must be integers or floats"):
        open_image(place)


def test_a_bool_is_no_grey_value(root):
    place = foreign(root / "scan", VOXELS > 9)
    assert voxels_of(place).dtype == bool
    with pytest.raises(InputError, match="voxels of type bool"):
        open_scan(place)


# --- codecs, sizes ---


class Executed:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize(
    "entries",
    [
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"dtype": "|O", "filters": [{"id": "pickle"}], "fill_value": None},
        {"filters": [{"id": "json2"}]},
        {"filters": [{"id": "zlib"}]},
    ],
)
def test_codecs_that_are_not_known_are_refused_before_they_see_a_byte(root, entries):
    import pickle

    place = foreign(root / "scan")
    mended(place / ".zarray", **entries)
    for name in place.find():
        if name[0].isdigit():
            (place / name).write_bytes(pickle.dumps(Executed()))
    with pytest.raises(InputError, match=r"scan: (codec|metadata of the Zarr cannot be used)"):
        voxels_of(place)


def test_chunks_that_were_compressed_twice_are_refused(root):
    place = foreign(root / "scan", zarr_format=3, compressors=[zarr.codecs.ZstdCodec(), zarr.codecs.GzipCodec()])
    with pytest.raises(InputError, match="compressed twice"):
        open_image(place)


PACKED = {
    "zstd": lambda data: Zstd().encode(data),
    "blosc": lambda data: Blosc().encode(data),
    "lz4": lambda data: LZ4().encode(data),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "lzma": lzma.compress,
}


@pytest.mark.parametrize("name", COMPRESSORS)
@given(data=st.binary(min_size=1, max_size=300), times=st.integers(1, 400))
def test_what_data_unpack_to_is_known_before(name, data, times):
    packed = memoryview(PACKED[name](data * times))
    assert unpacked_bytes(name, packed, 2**20) == len(data) * times


def test_zstd_that_does_not_tell_its_size():
    # One frame without a size: a block that is stored, and one of 100 times the same byte.
    frame = bytes.fromhex("28b52ffd 00 58") + (5 << 3).to_bytes(3, "little") + b"hello"
    frame += (100 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    assert Zstd().decode(frame) == b"hello" + 100 * b"x"
    assert unpacked_bytes("zstd", memoryview(frame), 0) == 105
    assert unpacked_bytes("zstd", memoryview(2 * frame), 0) == 210


def test_zstd_in_blocks_of_untold_size():
    import imagecodecs

    data = np.random.default_rng(0).integers(0, 9, 2**20).astype(np.uint8).tobytes()
    packed = imagecodecs.zstd_encode(data)
    known = unpacked_bytes("zstd", memoryview(packed), 0)
    assert known == len(data)
    # The same frame without its size.
    header = 5 + (0 if packed[4] >> 5 & 1 else 1)
    width = {0: packed[4] >> 5 & 1, 1: 2, 2: 4, 3: 8}[packed[4] >> 6]
    told = packed[:4] + bytes([packed[4] & 0b00011111, 0x58]) + packed[header + width :]
    assert Zstd().decode(told) == data
    assert len(data) / 8 <= unpacked_bytes("zstd", memoryview(told), 2**30) <= len(data)


@pytest.mark.parametrize("name", COMPRESSORS)
@given(data=st.binary(max_size=60))
def test_what_no_compressor_wrote_is_an_error_or_a_number(name, data):
    with suppress(ValueError):
        assert unpacked_bytes(name, memoryview(data), 2**20) >= 0


@pytest.mark.parametrize("name", ["zstd", "blosc", "lz4", "gzip", "zlib", "bz2", "lzma"])
def test_a_chunk_that_unpacks_to_more_than_its_voxels_is_not_unpacked(tmp_path, name):
    place = foreign(Location.parse(tmp_path / "scan"), compressors={"id": name})
    np.testing.assert_array_equal(voxels_of(place), VOXELS)
    bomb = PACKED[name](bytes(2**24))
    (place / "0.0.0").write_bytes(bomb)
    with pytest.raises(CorruptDataError, match=r"scan Box.*says that it unpacks to \d+ bytes or more"):
        voxels_of(place)
    limit = 2**18
    assert limit < unpacked_bytes(name, memoryview(bomb), limit) < 2**24 + 1


@pytest.mark.parametrize("name", ["zstd", "blosc", "gzip"])
def test_a_chunk_that_was_cut_off_is_found(root, name):
    place = foreign(root / "scan", compressors={"id": name})
    content = (place / "0.0.0").read_bytes()
    for kept in (0, 1, 15, 16, 17, len(content) // 2, len(content) - 1):
        (place / "0.0.0").write_bytes(content[:kept])
        with pytest.raises(CorruptDataError, match="a chunk cannot be decoded"):
            voxels_of(place)


@pytest.mark.parametrize("shards", [None, (16, 16, 16)])
def test_when_a_chunk_cannot_be_decoded_the_others_are_not_left_behind(tmp_path, shards):
    place = foreign(
        Location.parse(tmp_path / "scan"), np.tile(VOXELS, (4, 2, 2)), chunks=(8, 8, 8), shards=shards, zarr_format=3
    )
    first = place / "c" / "0" / "0" / "0"
    first.write_bytes(first.read_bytes()[: 2**7 if shards is None else -5])

    async def others():
        return asyncio.all_tasks() - {asyncio.current_task()}

    with pytest.raises(CorruptDataError):
        voxels_of(place)
    assert not sync(others())


def test_a_bomb_in_a_shard_is_not_unpacked(tmp_path):
    labels = Location.parse(tmp_path / "labels")
    create_image(labels, (8, 8, 8), np.uint8, spacing=None, name="ore")[...] = 0
    (shard,) = [labels / name for name in labels.find() if "/c/" in name]
    options = {
        "chunks": (256, 256, 256),
        "shards": (256, 256, 256),
        "compressors": [zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()],
    }
    other = zarr.create_array(
        str(tmp_path / "bomb"), shape=(256, 256, 256), dtype="u1", config={"write_empty_chunks": True}, **options
    )
    other[...] = 0
    shutil.copy(tmp_path / "bomb" / "c" / "0" / "0" / "0", shard.local_path)
    with pytest.raises(CorruptDataError, match="says that it unpacks to 16777216 bytes or more, where"):
        voxels_of(labels)


def test_a_chunk_larger_than_the_budget(root):
    array = open_image(foreign(root / "scan", chunks=SHAPE))
    require_chunk_fits(array, VOXELS.nbytes)
    with pytest.raises(InputError, match=r"chunks of .* the memory budget is"):
        require_chunk_fits(array, VOXELS.nbytes - 1)


@pytest.mark.parametrize(
    "entries", [{"shape": [2**62] * 3}, {"shape": [2**40, 2, 2]}, {"shape": [0, 4, 4]}, {"chunks": [2**15] * 3}]
)
def test_absurd_sizes_are_one_line(root, entries):
    place = foreign(root / "scan")
    mended(place / ".zarray", **entries)
    with pytest.raises(InputError, match=r"scan: .*(shape|chunks of).*;") as caught:
        open_image(place)
    assert len(str(caught.value)) < 300


# --- what is no file ---


@pytest.mark.parametrize("name", ["zarr.json", "c/0/0/0"])
@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path, name, what):
    place = foreign(Location.parse(tmp_path / "scan"), zarr_format=3)
    file = tmp_path / "scan" / name
    file.unlink()
    os.mkfifo(file) if what == "pipe" else file.mkdir()
    with pytest.raises(CorruptDataError, match=rf"{name}: (no file|a folder) where a file should be"):
        voxels_of(place)


@pytest.mark.parametrize("name", [".zarray", ".zgroup", ".zattrs"])
def test_a_pipe_among_the_metadata_of_zarr_2(tmp_path, name):
    ome(Location.parse(tmp_path / "scan"))
    file = tmp_path / "scan" / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    with pytest.raises(CorruptDataError, match="no file where a file should be"):
        open_image(Location.parse(tmp_path / "scan"))


@pytest.mark.parametrize("attributes", [1, [1], "x", None])
def test_attributes_that_are_none(root, attributes):
    place = foreign(root / "scan", zarr_format=3)
    mended(place / "zarr.json", attributes=attributes)
    with suppress(InputError):
        np.testing.assert_array_equal(voxels_of(place), VOXELS)


def test_packed_folders_are_refused(tmp_path):
    (tmp_path / "scans.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="a packed file; unpack it"):
        open_scan(tmp_path / "scans.zip")
