"""Parquet files read in parts: what was disturbed on its way is read again, and damage is said."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ps3d_core.errors import CorruptDataError, StoreError
from ps3d_core.store.location import Location
from ps3d_core.store.parquet import WRITING, from_parquet

VALUES = np.random.default_rng(0).normal(size=5000)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"x": VALUES}), path, **WRITING)
    return path


def values_of(file):
    return from_parquet(Location.parse(file), lambda read: read.read(columns=["x"]), "make it again")["x"].to_numpy()


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_no_flipped_bit_of_a_value_is_believed(file):
    content = file.read_bytes()
    for at in np.random.default_rng(1).integers(200, len(content) - 2000, 30):
        file.write_bytes(flipped(content, at))
        with pytest.raises(CorruptDataError, match="make it again"):
            values_of(file)
    file.write_bytes(content)
    assert (values_of(file) == VALUES).all()


def test_what_was_disturbed_on_its_way_is_read_again(file, monkeypatch):
    content, streams = file.read_bytes(), []

    def disturbed_at_first(self):
        streams.append(io.BytesIO(flipped(content, 3000) if not streams else content))
        return streams[-1]

    monkeypatch.setattr(Location, "open_reading", disturbed_at_first)
    assert (values_of(file) == VALUES).all()
    assert len(streams) == 2


def test_errors_of_a_store_are_its_own(file, monkeypatch):
    def fails(self):
        raise StoreError("the store is away")

    monkeypatch.setattr(Location, "open_reading", fails)
    with pytest.raises(StoreError, match="the store is away"):
        values_of(file)
