"""What meshes are made of: a label image, and a table that says where its particles are and how large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ps3d_core.engine.step import Context
from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, per_axis
from ps3d_core.measuring.measure import measure_particles
from ps3d_core.particles.boxes import Boxes
from ps3d_core.particles.label_index import MAX_LABEL, Labels
from ps3d_core.record import read_record
from ps3d_core.scan.given import spacing_of
from ps3d_core.scan.spacing import checked_spacing
from ps3d_core.store.layout import RUN, checked_name
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin
from ps3d_core.store.parquet import from_parquet

AT_ONCE: Final = 2**16
"""Particles whose boxes are held at once; those near each other are read together."""
_AXES: Final = "zyx"
_COLUMNS: Final = [
    "label",
    "voxels",
    *(f"bbox_{axis}_start" for axis in _AXES),
    *(f"bbox_{axis}_stop" for axis in _AXES),
]
_REMEDY: Final = "segment or measure again"


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles of a label image.

    Attributes:
        labels: label image.
        table: particles.parquet.
        edges: of a voxel (z, y, x), mm.
        name: what the labels are called in messages.

    """

    labels: Location
    table: Location
    edges: Spacing
    name: str

    @property
    def origin(self) -> Spacing:
        """Position (z, y, x) of the centre of the first voxel, mm."""
        return image_origin(self.labels)

    def count(self) -> int:
        """Return how many there are."""
        return from_parquet(self.table, lambda file: int(file.metadata.num_rows), _REMEDY)

    def boxes(self, chosen: Labels | None = None) -> Iterator[tuple[Boxes, npt.NDArray[np.int64]]]:
        """Yield boxes and numbers of voxels (n,) of particles, in order of their labels.

        `chosen` are the labels of those wanted, rising; all of them when absent.
        """
        for group in range(from_parquet(self.table, lambda file: int(file.num_row_groups), _REMEDY)):
            table = from_parquet(self.table, partial(_row_group, group), _REMEDY)
            if set(_COLUMNS) - set(table.column_names):
                raise CorruptDataError(f"{self.table}: not a table of particles; {_REMEDY}")
            columns = {name: np.asarray(table[name]) for name in _COLUMNS}
            rows = np.arange(len(table)) if chosen is None else np.flatnonzero(np.isin(columns["label"], chosen))
            for first in range(0, len(rows), AT_ONCE):
                yield _boxes(columns, rows[first : first + AT_ONCE])

    def _told(self) -> str:
        """How many there are, and between which labels."""
        labels = np.asarray(from_parquet(self.table, lambda file: file.read(columns=["label"]), _REMEDY)["label"])
        return f"{len(labels)}, from {labels[0]} to {labels[-1]}" if len(labels) else "none"

    def require(self, chosen: Sequence[int]) -> Labels:
        """Return these labels in rising order, each once. Raise `InputError` for one that no particle has."""
        possible = [label for label in chosen if 1 <= label <= MAX_LABEL and label == int(label)]
        wanted = np.unique(np.array(possible, np.uint32))
        found = np.concatenate([np.empty(0, np.uint32), *(boxes.labels for boxes, _ in self.boxes(wanted))])
        if missing := sorted(set(chosen) - set(found.tolist())):
            named = ", ".join(f"{label}"[:20] for label in missing[:4]) + (", ..." if len(missing) > 4 else "")
            raise InputError(
                f"{self.name}: no particle has label {named}; there are {self._told()}", "choose other <labels>"
            )
        return wanted


def result_in(place: Location) -> Location | None:
    """Return the folder of a result when `place` is one, else None."""
    return place if (place / RUN).is_file() else None


def particles_of_result(root: Location) -> Particles:
    """Return the particles of the result in a folder; raise `InputError` when its record cannot be read."""
    record = read_record(root / RUN)
    if record is None:
        raise InputError(f"{root}: no result of a segmentation; give its folder, or a label image")
    labels = root / f"{checked_name(record.scan)}.zarr"
    if not labels.exists():
        raise InputError(
            f"{root}: a result without its label image, {labels.name}; copy it from where the result was made"
        )
    return Particles(labels, root / "particles.parquet", per_axis(spacing_of(labels)), str(root))


def particles_of_labels(
    labels: Location, name: str, work: Location, spacing: StatedSpacing, context: Context
) -> Particles:
    """Return the particles of any label image, which is measured for that in the folder `work`."""
    measure_particles(labels, work / "table", spacing=checked_spacing(spacing), work=work, context=context)
    return Particles(labels, work / "table" / "particles.parquet", per_axis(spacing), name)


def _row_group(group: int, file: pq.ParquetFile) -> pa.Table:
    known = set(file.schema_arrow.names)
    return file.read_row_group(group, columns=[name for name in _COLUMNS if name in known])


def _boxes(
    columns: dict[str, npt.NDArray[np.generic]], rows: npt.NDArray[np.intp]
) -> tuple[Boxes, npt.NDArray[np.int64]]:
    low = np.stack([columns[f"bbox_{axis}_start"][rows] for axis in _AXES], axis=1).astype(np.int32)
    stop = np.stack([columns[f"bbox_{axis}_stop"][rows] for axis in _AXES], axis=1).astype(np.int32)
    return Boxes(columns["label"][rows].astype(np.uint32), low, stop - 1), columns["voxels"][rows].astype(np.int64)
