"""One thread from bytes to voxels: the same bytes and voxels as Zarr's own way, and the same complaints."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ps3d_core.engine.blocks import Runner, stop_workers
from ps3d_core.errors import CorruptDataError, MissingDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.codec_pipeline import OneCorePipeline, use_one_core
from ps3d_core.store.location import Location


@contextmanager
def as_worker():
    """This process as one that is there for one core."""
    changed = ("codec_pipeline.path", "threading.max_workers")
    with zarr.config.set({key: zarr.config.get(key) for key in changed}):  # puts them back
        use_one_core()
        yield


@pytest.fixture
def one_core():
    with as_worker():
        yield


def content(place):
    return {name: (place / name).read_bytes() for name in place.find(hidden=True)}


@pytest.mark.parametrize("sharded", [True, False])
@given(data=st.data())
@settings(max_examples=20)
def test_same_bytes_and_voxels_as_zarr(tmp_path_factory, sharded, data):
    place = Location.parse(tmp_path_factory.mktemp("arrays"))
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint32, np.float32]))
    voxels = data.draw(arrays(dtype, shape, elements={"allow_nan": False} if dtype == np.float32 else None))
    box = Box((0, 0, 0), shape)
    options = {"chunks": (2, 3, 2), "sharded": sharded, "shards": (4, 6, 4) if sharded else None}
    write_box(create_array(place / "zarr", shape, dtype, **options), box, voxels)
    with as_worker():
        create_array(place / "one", shape, dtype, **options)
        array = open_array(place / "one", writable=True)
        assert isinstance(array._async_array.codec_pipeline, OneCorePipeline)
        write_box(array, box, voxels)
        np.testing.assert_array_equal(read_box(open_array(place / "zarr"), box), voxels)
        part = Box(tuple(n // 3 for n in shape), shape)
        np.testing.assert_array_equal(read_box(open_array(place / "one"), part), voxels[part.slices])
    assert content(place / "one") == content(place / "zarr")
    np.testing.assert_array_equal(read_box(open_array(place / "one"), box), voxels)


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["zstd", "blosc", "gzip"])
def test_arrays_of_others(tmp_path, zarr_format, name):
    """Whatever compressor and byte order a scan was stored with; codecs of version 2 must be awaited."""
    compressors = {
        2: {"zstd": {"id": "zstd", "level": 1}, "blosc": {"id": "blosc"}, "gzip": {"id": "gzip", "level": 1}},
        3: {"zstd": zarr.codecs.ZstdCodec(), "blosc": zarr.codecs.BloscCodec(), "gzip": zarr.codecs.GzipCodec()},
    }
    voxels = np.arange(5 * 6 * 7, dtype=">u2").reshape(5, 6, 7)
    foreign = zarr.create_array(
        str(tmp_path / "foreign"),
        data=voxels,
        chunks=(2, 3, 4),
        compressors=compressors[zarr_format][name],
        zarr_format=zarr_format,
    )
    np.testing.assert_array_equal(foreign[:], voxels)
    np.testing.assert_array_equal(
        read_box(open_array(Location.parse(tmp_path / "foreign")), Box((1, 0, 2), (5, 6, 7))), voxels[1:, :, 2:]
    )


@pytest.mark.usefixtures("one_core")
def test_damage_is_named(tmp_path):
    place, box = Location.parse(tmp_path / "labels"), Box((0, 0, 0), (8, 8, 8))
    array = create_array(place, (8, 8, 8), np.uint32, chunks=(4, 4, 4), sharded=False)
    write_box(array, box, np.ones((8, 8, 8), np.uint32))
    (chunk, other) = (place / f"c/1/1/{x}" for x in (0, 1))
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptDataError, match=r"labels.*checksum do not match"):
        read_box(open_array(place), box)
    other.remove_tree()
    with pytest.raises(MissingDataError, match="labels/c/1/1/1: this chunk is missing"):
        read_box(open_array(place), Box((4, 4, 4), (8, 8, 8)))


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_workers_that_are_started_here_use_it(kind):
    runner = Runner(kind=kind, workers=1)
    try:
        with runner.executor() as executor:
            assert executor.submit(zarr.registry.get_pipeline_class).result() is OneCorePipeline
    finally:
        stop_workers(runner)
