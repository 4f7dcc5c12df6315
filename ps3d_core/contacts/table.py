"""The table of contacts, one row for every two particles that touch: contacts.parquet and contacts.csv.

Two particles touch where voxels of theirs have a face, an edge or a corner in common; `faces` tells these apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ps3d_core.contacts.pair_counts import PairCounts
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, per_axis
from ps3d_core.particles.surface import shared_faces, surface_area
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.parquet import WRITING
from ps3d_core.store.publishing import publish

VERSION: Final = 3
"""Raise when a change of the code changes the files: finished work of older code is then redone."""

ROWS: Final = 2**18
"""Of a row group of the file."""

SCHEMA: Final = pa.schema(
    [
        pa.field(name, pa.type_for_alias(kind), metadata={"unit": unit, "description": meaning})
        for name, kind, unit, meaning in (
            ("label_a", "uint32", "", "the particle with the lower label"),
            ("label_b", "uint32", "", "the particle with the higher label"),
            ("faces", "int64", "faces", "faces of voxels that both share; 0 where only edges or corners touch"),
            ("contact_area_mm2", "double", "mm2", "surface that both share, Crofton's formula in 13 directions"),
            *((f"centre_{a}_mm", "double", "mm", f"centre of the contact, {a}, in the scanner's frame") for a in "zyx"),
            *(
                (f"normal_{a}", "double", "1", f"unit vector across the contact from label_a to label_b, {a}")
                for a in "zyx"
            ),
        )
    ]
)

Floats = npt.NDArray[np.float64]


def contact_area(crossings: npt.NDArray[np.int64], spacing: StatedSpacing) -> Floats:
    """Return areas (n,) in mm2 from crossings (n, kinds) and the edges of a voxel in mm."""
    return surface_area(crossings, spacing) / 2


def contact_centre(counts: PairCounts, spacing: StatedSpacing, origin: Spacing) -> Floats:
    """Return centres (n, 3) of contacts, (z, y, x) in mm: the mean of the places half-way along all crossings.

    `origin` is where the centre of the scan's first voxel lies, mm.
    """
    twice = 2 * counts.crossings.sum(axis=1, keepdims=True)
    return np.asarray(np.array(origin) + np.array(per_axis(spacing)) * (counts.places / twice))


def contact_normal(counts: PairCounts, spacing: StatedSpacing) -> Floats:
    """Return unit vectors (n, 3) across contacts from the lower label to the higher, (z, y, x); NaN where none is.

    A flat contact is crossed in every direction as often as it faces that way. Over the 13 steps between neighbours,
    in edges of a voxel, the sum of (normal . step) step is the same multiple of the normal for all normals: so the sum
    of the steps of all crossings has its direction. A curved contact gets the mean over its area; a closed one, around
    a particle that lies within another, has none.
    """
    across = counts.steps / np.array(per_axis(spacing))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(across / np.linalg.norm(across, axis=1, keepdims=True))


def contact_rows(counts: PairCounts, spacing: StatedSpacing, origin: Spacing) -> pa.Table:
    """Return rows of the table, in the order of `counts`."""
    centre, normal = contact_centre(counts, spacing, origin), contact_normal(counts, spacing)
    columns: list[npt.NDArray[Any]] = [
        counts.lower,
        counts.higher,
        shared_faces(counts.crossings),
        contact_area(counts.crossings, spacing),
        *centre.T,
        *normal.T,
    ]
    arrays = [
        pa.array(np.ascontiguousarray(values), field.type, from_pandas=True)
        for values, field in zip(columns, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def write_contacts(tables: Iterable[pa.Table], parquet: Location, csv: Location) -> int:
    """Write the rows of `tables`, one row group each, as Parquet and as CSV; return how many there are."""
    rows = 0
    with tempfile.TemporaryDirectory(prefix="ps3d-contacts-") as folder:
        local, text = Path(folder) / parquet.name, Path(folder) / csv.name
        with (
            writing_to(Location.parse(folder)),
            pq.ParquetWriter(local, SCHEMA, **WRITING) as writer,
            _csv_writer(text) as lines,
        ):
            for table in tables:
                writer.write_table(table)
                lines.write_table(table)
                rows += len(table)
        publish(csv, text)
        publish(parquet, local)
    return rows


@contextmanager
def _csv_writer(file: Path) -> Iterator[pa_csv.CSVWriter]:
    """A writer of lines below a header without quotes, as the table of particles has it."""
    with file.open("wb") as stream:
        stream.write((",".join(SCHEMA.names) + "\n").encode())
        with pa_csv.CSVWriter(stream, SCHEMA, write_options=pa_csv.WriteOptions(include_header=False)) as writer:
            yield writer
