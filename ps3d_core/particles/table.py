"""The particle table: one row per particle, the same bytes for the same particles.

Each column is declared once, with its unit and what it means; both travel in the Parquet file as metadata of the
field. The size of row groups and all writer settings are fixed, so neither the number of blocks nor of workers
shows in the file. Rows stream through temporary local files: ten million particles need little memory.
No cell holds a text from outside, which could be a formula to a spreadsheet: `doubts` are words of ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from pydantic import Field

from ps3d_core.errors import CorruptDataError
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.particles.column import Column
from ps3d_core.particles.shape import Columns
from ps3d_core.particles.window import Window, with_window
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.parquet import WRITING, from_parquet
from ps3d_core.store.publishing import publish

VERSION: Final = 4
"""Raise when a change of the code changes the files of one table: finished work of older code is then redone."""


COLUMNS: Final = (
    Column("label", "uint32", "", "value of the particle's voxels in the label image"),
    Column("voxels", "int64", "voxels", "number of voxels"),
    Column("volume_mm3", "double", "mm3", "volume"),
    Column("diameter_mm", "double", "mm", "diameter of the ball of equal volume"),
    *(
        Column(f"centroid_{a}_mm", "double", "mm", f"centre of mass, {a}; 0 is the centre of the scanner's voxel 0")
        for a in "zyx"
    ),
    *(Column(f"bbox_{a}_start", "int32", "voxels", f"first voxel of the bounding box, {a}") for a in "zyx"),
    *(Column(f"bbox_{a}_stop", "int32", "voxels", f"one past the last voxel of the bounding box, {a}") for a in "zyx"),
    Column("axis_long_mm", "double", "mm", "longest axis of the ellipsoid with the same second moments"),
    Column("axis_intermediate_mm", "double", "mm", "intermediate axis of that ellipsoid"),
    Column("axis_short_mm", "double", "mm", "shortest axis of that ellipsoid"),
    Column("elongation", "double", "1", "intermediate / longest axis (Zingg); 1 is not elongated"),
    Column("flatness", "double", "1", "shortest / intermediate axis (Zingg); 1 is not flat"),
    Column("surface_area_mm2", "double", "mm2", "surface area, Crofton's formula in 13 directions"),
    Column("sphericity", "double", "1", "surface of the ball of equal volume / surface area (Wadell)"),
    Column("grey_mean", "double", "grey value", "mean grey value"),
    Column("grey_std", "double", "grey value", "standard deviation of the grey values"),
    Column("grey_min", "double", "grey value", "smallest grey value"),
    Column("grey_max", "double", "grey value", "largest grey value"),
    Column("touches_border", "bool", "", "lies at the edge of the scan, which may have cut it"),
    Column("certainty", "double", "1", "mean probability of the classes of the voxels, as the network says it"),
    Column("confidence", "double", "1", "probability that the particle is right, by the calibration of the model"),
    Column("maybe_merged", "double", "1", "probability that it is several particles, from shape and size"),
    Column("maybe_split", "double", "1", "probability that it is a part of one, from its largest contact"),
    Column("maybe_split_from", "uint32", "", "label of the neighbour with that contact; 0 for none"),
    Column("doubts", "string", "", "what of this a person should look at"),
)


class About(Window):
    """Facts about the scan that a table is of, kept in its Parquet file: of the window that particles were seen in."""

    origin: Spacing = Field(default=(0.0, 0.0, 0.0), description="of the centre of the first voxel (z, y, x), mm")


def schema_of(columns: Sequence[Column] = COLUMNS, about: About | None = None) -> pa.Schema:
    """Return the Arrow schema of a table with these columns; what defines each is metadata of its field."""
    fields = [pa.field(c.name, pa.type_for_alias(c.type), metadata=_definition(c)) for c in columns]
    return with_window(pa.schema(fields), about)


def _definition(column: Column) -> dict[str, str]:
    """Unit and meaning of a column, and where they say not all formula and source."""
    more = {"formula": column.formula, "source": column.source}
    return {"unit": column.unit, "description": column.meaning, **{key: text for key, text in more.items() if text}}


SCHEMA: Final = schema_of()
"""Schema of a table with the columns that every table has."""


def arrow_table(columns: Columns, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Return columns, by the names that the schema has for them, as an Arrow table; NaN becomes "no value"."""
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_table(tables: Iterable[pa.Table], parquet: Location, csv: Location, schema: pa.Schema = SCHEMA) -> int:
    """Write the rows of `tables`, one row group each, as Parquet and as CSV; return the number of rows."""
    rows = 0
    with tempfile.TemporaryDirectory(prefix="ps3d-table-") as folder:
        local_parquet, local_csv = Path(folder) / "particles.parquet", Path(folder) / "particles.csv"
        with (
            writing_to(Location.parse(folder)),
            pq.ParquetWriter(local_parquet, schema, version="2.6", compression_level=3, **WRITING) as writer,
            local_csv.open("wb") as text,
        ):
            text.write((",".join(schema.names) + "\n").encode())
            for table in tables:
                writer.write_table(table, row_group_size=max(1, len(table)))
                pa_csv.write_csv(table, text, pa_csv.WriteOptions(include_header=False))
                rows += len(table)
        publish(csv, local_csv)
        publish(parquet, local_parquet)
    return rows


def read_table(parquet: Location, names: Sequence[str] | None = None) -> pa.Table:
    """Return a particle table, or the columns `names` of it.

    Raise `CorruptDataError` when the file is no particle table, or has no such column.
    """
    wanted = None if names is None else list(names)
    table = from_parquet(parquet, lambda file: file.read(columns=wanted), "measure again")
    missing = sorted(set(SCHEMA.names if names is None else names) - set(table.column_names))
    if missing:
        raise CorruptDataError(f"{parquet}: no column {missing[0]!r}; it is no particle table, measure again")
    return table


def column_names(parquet: Location) -> list[str]:
    """Return the names of the columns that a table has. Raise `CorruptDataError` when the file is damaged."""
    return list(from_parquet(parquet, lambda file: file.schema_arrow.names, "measure again"))


def read_columns(parquet: Location, names: Sequence[str]) -> Columns:
    """Return columns of a particle table as arrays; "no value" becomes NaN.

    Raise `CorruptDataError` when the file is no particle table.
    """
    table = read_table(parquet, names)
    return {name: _array(table.column(name)) for name in names}


def _array(column: Any) -> npt.NDArray[Any]:
    return np.asarray(column.to_numpy())
