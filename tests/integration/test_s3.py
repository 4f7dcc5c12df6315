"""Stores on a real S3 server: the same behaviour as on a folder."""

import numpy as np
import pytest

from ps3d_core.errors import MissingDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import array_name, create_array, open_array, read_box, write_box
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.ome import create_image


def test_files_and_listing(s3):
    (s3 / "a" / "f.json").write_json({"x": 1})
    assert (s3 / "a" / "f.json").read_json() == {"x": 1}
    assert (s3 / "a").children() == ["f.json"]
    assert list(s3.find()) == ["a/f.json"]
    with pytest.raises(MissingDataError):
        (s3 / "a" / "nothing").read_bytes()


def test_arrays(s3):
    data = np.random.default_rng(0).integers(0, 2**16, (70, 40, 33)).astype(np.uint16)
    array = create_array(s3 / "a.zarr", data.shape, data.dtype, chunks=(16, 16, 16), shards=(32, 32, 32))
    write_box(array, Box.of(data.shape), data)
    reader = open_array(s3 / "a.zarr")
    assert (read_box(reader, Box.of(data.shape)) == data).all()
    (s3 / "a.zarr" / "c" / "1" / "0" / "0").remove_tree()
    assert array_name(array) == array_name(reader) == str(s3 / "a.zarr")
    with pytest.raises(MissingDataError, match=f"{s3 / 'a.zarr'}/c/1/0/0"):
        read_box(reader, Box.of(data.shape))


def test_ledger_and_identity(s3):
    before = content_identity(s3)
    ledger = Ledger(s3, "stage", "f")
    ledger.record(2, {"n": 1})
    assert ledger.finished() == {2: {"n": 1}}
    assert content_identity(s3) != before
    ledger.clear()
    assert ledger.finished() == {}


def test_what_was_deleted_is_gone(s3):
    dataset = Dataset(s3)
    for name in ("kept", "deleted"):
        create_image(dataset.image(name), (8, 8, 8), "uint8", spacing=0.01, name=name)
    dataset.image("deleted").remove_tree()
    assert dataset.names() == ["kept"]
    assert not dataset.image("deleted").exists()
    assert not dataset.image("deleted").is_dir()
    assert dataset.image("kept").is_dir()
