"""The table's files: schema with units, no values where there are none, the same bytes for the same rows."""

import uuid
from dataclasses import replace

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from labelled import sums_of, voronoi

from ps3d_core.doubt.calibration import Calibration
from ps3d_core.errors import CorruptDataError, MissingDataError
from ps3d_core.particles.doubt import Sureness, doubt_columns
from ps3d_core.particles.shape import particle_columns
from ps3d_core.particles.table import SCHEMA, arrow_table, read_columns, write_table
from ps3d_core.store.location import Location


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def columns():
    labels = voronoi((14, 15, 16), 12, seed=4)
    image = np.random.default_rng(1).integers(0, 60000, labels.shape).astype(np.uint16)
    columns = particle_columns(sums_of(labels, image), labels.shape, 0.013, grey=True)
    n = int(labels.max())
    known = Sureness(0.05, np.linspace(0, 1e-3, n + 1), np.arange(n + 1, dtype=np.uint32), np.linspace(0.4, 1, n + 1))
    known = replace(known, calibration=Calibration(slope=5, offset=-5, particles=99, right=90))
    return columns | doubt_columns(columns, known)


def test_files(place, columns):
    parquet, csv = place / "particles.parquet", place / "particles.csv"
    table = arrow_table(columns)
    assert write_table([table], parquet, csv) == len(table) == len(columns["label"])
    with parquet.open_reading() as stream:
        read = pq.read_table(stream)
    assert read.schema.equals(SCHEMA, check_metadata=True)
    assert read.equals(table)
    with csv.open_reading() as stream:
        text = pa_csv.read_csv(stream)
    assert text.column_names == SCHEMA.names
    # Floats are written with as many digits as tell them apart from all others.
    assert all(np.array_equal(text[name], table[name]) for name in SCHEMA.names)
    again = read_columns(parquet, list(columns))
    assert all(np.array_equal(again[name], columns[name]) for name in columns)


def test_every_column_says_its_unit():
    for field in SCHEMA:
        assert set(field.metadata) == {b"unit", b"description"}
        for unit in ("mm3", "mm2", "mm"):
            if field.name.endswith(f"_{unit}"):
                assert field.metadata[b"unit"] == unit.encode()


def test_no_value_is_empty_and_null(place, columns):
    without = {**columns, "grey_mean": np.full(len(columns["label"]), np.nan)}
    write_table([arrow_table(without)], place / "p.parquet", place / "p.csv")
    with (place / "p.parquet").open_reading() as stream:
        assert pq.read_table(stream)["grey_mean"].null_count == len(columns["label"])
    assert "nan" not in (place / "p.csv").read_text().lower()
    assert np.isnan(read_columns(place / "p.parquet", ["grey_mean"])["grey_mean"]).all()


def test_same_rows_same_bytes(place, columns):
    files = []
    for name in "ab":
        write_table([arrow_table(columns)], place / f"{name}.parquet", place / f"{name}.csv")
        files.append(((place / f"{name}.parquet").read_bytes(), (place / f"{name}.csv").read_bytes()))
    assert files[0] == files[1]


def test_no_particles(place):
    assert write_table([], place / "p.parquet", place / "p.csv") == 0
    assert (place / "p.csv").read_text() == ",".join(SCHEMA.names) + "\n"
    assert len(read_columns(place / "p.parquet", ["label"])["label"]) == 0


def test_what_is_no_table(place):
    with pytest.raises(MissingDataError):
        read_columns(place / "p.parquet", ["label"])
    (place / "p.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(CorruptDataError, match="not a Parquet file"):
        read_columns(place / "p.parquet", ["label"])
