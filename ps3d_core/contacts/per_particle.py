"""What the table of contacts says of each particle: with how many others it touches, and with how much of its surface.

The table is in order of its lower label. Once its rows have passed a label, no later one can name it: so particles are
complete in order of their labels, and only those are held that were named and not yet passed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ps3d_core.errors import InputError
from ps3d_core.particles.column import Column
from ps3d_core.particles.label_index import MAX_LABEL, Labels
from ps3d_core.store.location import Location
from ps3d_core.store.parquet import from_parquet

COLUMNS: Final = (
    Column(
        "coordination",
        "int32",
        "1",
        "coordination number: particles that this one touches with a face of a voxel",
        formula="rows of contacts.parquet that name it and have faces > 0",
        cost="all",
    ),
    Column(
        "contact_area_mm2",
        "double",
        "mm2",
        "surface that it shares with all others together, Crofton's formula in 13 directions",
        formula="sum of contact_area_mm2 of the rows of contacts.parquet that name it",
        source="Legland, Kieu and Devaux, Image Analysis & Stereology 26:83-92 (2007)",
        cost="all",
    ),
)
"""What a look at the contacts adds to the table of particles."""

_READ: Final = ["label_a", "label_b", "faces", "contact_area_mm2"]
_REMEDY: Final = "segment or measure again"


class ParticleContacts:
    """Contacts of particles, asked for in rising order of their labels; holds few row groups at a time."""

    def __init__(self, contacts: Location) -> None:
        """Open the file contacts.parquet. Raise `CorruptDataError` when it cannot be read."""
        self._file = contacts
        self._groups = from_parquet(contacts, lambda file: int(file.num_row_groups), _REMEDY)
        self._read = 0
        self._passed = -1
        self._labels: Labels = np.empty(0, np.uint32)
        self._touching: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._area: npt.NDArray[np.float64] = np.empty(0, np.float64)
        self._complete = -1

    def of(self, labels: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return `coordination` (n,) int32 and `contact_area_mm2` (n,) float64 of labels (n,), which rise.

        They are above those of all earlier calls. Particles that touch nothing get 0. Raise `InputError` when they
        are not, and `CorruptDataError` when the file cannot be read.
        """
        coordination, area = np.zeros(len(labels), np.int32), np.zeros(len(labels))
        if not len(labels):
            return {"coordination": coordination, "contact_area_mm2": area}
        if int(labels[0]) <= self._passed or (np.diff(labels.astype(np.int64)) <= 0).any():
            raise InputError(f"labels from {labels[0]}: must rise beyond {self._passed}; ask in order of the labels")
        last = int(labels[-1])
        while self._complete < last:
            self._read_on()
        rows = np.minimum(np.searchsorted(self._labels, labels), max(0, len(self._labels) - 1))
        if len(self._labels):
            known = self._labels[rows] == labels
            coordination[known], area[known] = self._touching[rows[known]], self._area[rows[known]]
        later = self._labels > last
        self._labels, self._touching, self._area = self._labels[later], self._touching[later], self._area[later]
        self._passed = last
        return {"coordination": coordination, "contact_area_mm2": area}

    def _read_on(self) -> None:
        """Take in another row group; what is below its last lower label is complete."""
        if self._read == self._groups:
            self._complete = MAX_LABEL
            return
        group = self._read
        rows = from_parquet(self._file, lambda file: _row_group(file, group), _REMEDY)
        lower, higher, faces, areas = (np.asarray(rows[name]) for name in _READ)
        self._add(np.concatenate((lower, higher)), np.tile(faces > 0, 2), np.tile(areas, 2))
        self._read += 1
        if len(lower):
            self._complete = int(lower[-1]) - 1  # another row group may go on with the last one

    def _add(self, labels: Labels, touching: npt.NDArray[np.bool_], areas: npt.NDArray[np.float64]) -> None:
        every, rows = np.unique(np.concatenate((self._labels, labels)), return_inverse=True)
        count, area = np.zeros(len(every), np.int32), np.zeros(len(every))
        # In order of the file, which no block shows in: so do not the sums.
        np.add.at(count, rows, np.concatenate((self._touching, touching)).astype(np.int32))
        np.add.at(area, rows, np.concatenate((self._area, areas)))
        self._labels, self._touching, self._area = every, count, area


def _row_group(file: pq.ParquetFile, group: int) -> pa.Table:
    return file.read_row_group(group, columns=_READ)
