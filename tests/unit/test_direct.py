"""Arrays on a folder without Zarr's loop: the same files and voxels as by Zarr, and the same complaints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ps3d_core.errors import CorruptDataError, MissingDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.direct import direct
from ps3d_core.store.location import Location


def content(place):
    return {name: (place / name).read_bytes() for name in place.find(hidden=True)}


@pytest.mark.parametrize("sharded", [True, False])
@given(data=st.data())
@settings(max_examples=25)
def test_same_files_and_voxels_as_zarr(tmp_path_factory, sharded, data):
    place = Location.parse(tmp_path_factory.mktemp("arrays"))
    shape = data.draw(st.tuples(*[st.integers(1, 11)] * 3))
    dtype = data.draw(st.sampled_from([np.uint8, np.int16, np.uint32, np.float32]))
    voxels = data.draw(arrays(dtype, shape, elements={"allow_nan": False} if dtype == np.float32 else None))
    options = {"chunks": (2, 3, 2), "sharded": sharded, "shards": (4, 6, 4) if sharded else None}
    by_zarr = create_array(place / "zarr", shape, dtype, **options)
    by_zarr[...] = voxels
    create_array(place / "direct", shape, dtype, **options)
    write_box(open_array(place / "direct", writable=True), Box.of(shape), voxels)
    assert content(place / "direct") == content(place / "zarr")
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    box = Box(start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))
    array = open_array(place / "zarr")
    assert direct(array) is not None
    np.testing.assert_array_equal(read_box(array, box), voxels[box.slices])
    np.testing.assert_array_equal(array[box.slices], voxels[box.slices])


def test_arrays_of_others_and_of_other_stores_go_by_zarr(tmp_path):
    create_array(Location.parse("memory://direct/ours"), (4, 4, 4), np.uint8)
    assert direct(open_array(Location.parse("memory://direct/ours"))) is None
    create_array(Location.parse(tmp_path / "ours"), (4, 4, 4), np.uint8)
    assert direct(open_array(Location.parse(tmp_path / "ours"), writable=True)) is None  # absent chunks are 0 there
    assert direct(open_array(Location.parse(tmp_path / "ours"), writable=True), writing=True) is not None


@pytest.fixture
def labels(tmp_path):
    place, box = Location.parse(tmp_path / "labels"), Box((0, 0, 0), (8, 8, 8))
    array = create_array(place, (8, 8, 8), np.uint32, chunks=(4, 4, 4), shards=(8, 8, 8))
    write_box(array, box, np.arange(512, dtype=np.uint32).reshape(8, 8, 8))
    return place


def test_every_flipped_byte_is_found(labels):
    shard = labels / "c/0/0/0"
    content = shard.read_bytes()
    for position in range(0, len(content), 7):
        shard.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        with pytest.raises(CorruptDataError, match="a chunk cannot be decoded"):
            read_box(open_array(labels), Box((0, 0, 0), (8, 8, 8)))


def test_a_file_that_is_cut_off_empty_or_gone(labels):
    shard, box = labels / "c/0/0/0", Box((0, 0, 0), (8, 8, 8))
    content = shard.read_bytes()
    for length in (len(content) - 1, 100, 3):
        shard.write_bytes(content[:length])
        with pytest.raises(CorruptDataError, match="a chunk cannot be decoded"):
            read_box(open_array(labels), box)
    shard.write_bytes(b"")
    with pytest.raises(CorruptDataError, match="labels/c/0/0/0: this chunk is empty"):
        read_box(open_array(labels), box)
    shard.remove_tree()
    with pytest.raises(MissingDataError, match="labels/c/0/0/0: this chunk is missing"):
        read_box(open_array(labels), box)
