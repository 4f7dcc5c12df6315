"""Values that other passes have found, for the labels of one range of the table after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ps3d_core.engine.block_step import Site
from ps3d_core.errors import CorruptDataError
from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.shape import Columns
from ps3d_core.store.ledger import Record
from ps3d_core.store.sorted_runs import Arrays, SortedRuns


class ByLabel(Protocol):
    """Source of columns for labels that the table has."""

    def of(self, labels: Labels) -> Columns:
        """Return an array (n,) per column for these labels, (n,) in rising order."""


class BlockValues:
    """Values that blocks have left: in each one's file the labels, `ids`, and an array per column.

    Every label is in one file. Each file is read once, whatever the order of labels over the blocks.
    """

    def __init__(self, records: Sequence[Record], site: Site) -> None:
        """Read the values that blocks have left at the site; `records` say how many labels each block has."""
        self._site = site
        self._values = SortedRuns("ids")
        for index, record in enumerate(records):
            if record["labels"]:
                self._values.add(site.file(index).read_arrays())

    def of(self, labels: Labels) -> Columns:
        """Return an array (n,) per column for these labels, (n,) in rising order.

        Raise `CorruptDataError` for a label that no block has measured.
        """
        columns: Columns = {}
        found = np.zeros(len(labels), np.bool_)
        for values in self._values.between(int(labels[0]), int(labels[-1])) if len(labels) else ():
            _fill(columns, found, labels, values)
        if not found.all():
            label = labels[np.flatnonzero(~found)[0]]
            raise CorruptDataError(f"{self._site.place}: nothing of label {label}; measure again")
        return columns


def _fill(columns: Columns, found: npt.NDArray[np.bool_], labels: Labels, values: Arrays) -> None:
    """Put what a block has of these labels in its place."""
    ids = values["ids"]
    rows = np.searchsorted(labels, ids)
    known = labels[rows] == ids
    rows = rows[known]
    found[rows] = True
    for name, column in values.items():
        if name != "ids":
            columns.setdefault(name, np.zeros(len(labels), column.dtype))[rows] = column[known]
