"""Values that other passes have found, for the labels of one range of the table after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ps3d_core.engine.block_step import Site
from ps3d_core.errors import CorruptDataError
from ps3d_core.particles.label_index import Labels
from ps3d_core.particles.shape import Columns
from ps3d_core.store.ledger import Record

HELD_BYTES: Final = 2**28
"""Of the files of blocks that are kept in memory while ranges of labels are asked for."""


class ByLabel(Protocol):
    """Source of columns for labels that the table has."""

    def of(self, labels: Labels) -> Columns:
        """Return an array (n,) per column for these labels, (n,) in rising order."""


class BlockValues:
    """Values that blocks have left: in each one's file the labels, `ids`, and an array per column.

    Every label is in one file. Records say how many labels there are, and the first and the last.
    """

    def __init__(self, records: Sequence[Record], site: Site) -> None:
        self._ranges = {i: (each["first"], each["last"]) for i, each in enumerate(records) if each["labels"]}
        self._site = site
        self._held: OrderedDict[int, Mapping[str, npt.NDArray[Any]]] = OrderedDict()

    def of(self, labels: Labels) -> Columns:
        """Return an array (n,) per column for these labels, (n,) in rising order.

        Raise `CorruptDataError` for a label that no block has measured.
        """
        columns: Columns = {}
        found = np.zeros(len(labels), np.bool_)
        low, high = (int(labels[0]), int(labels[-1])) if len(labels) else (0, -1)
        for block, (first, last) in self._ranges.items():
            if first <= high and low <= last:
                self._fill(columns, found, labels, self._values(block))
        if not found.all():
            label = labels[np.flatnonzero(~found)[0]]
            raise CorruptDataError(f"{self._site.place}: nothing of label {label}; measure again")
        return columns

    def _fill(
        self, columns: Columns, found: npt.NDArray[np.bool_], labels: Labels, values: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Put what a file has of these labels in its place."""
        ids = values["ids"]
        rows = np.searchsorted(ids, labels)
        here = ids[np.minimum(rows, len(ids) - 1)] == labels
        found |= here
        for name, column in values.items():
            if name != "ids":
                columns.setdefault(name, np.zeros(len(labels), column.dtype))[here] = column[rows[here]]

    def _values(self, block: int) -> Mapping[str, npt.NDArray[Any]]:
        if block in self._held:
            self._held.move_to_end(block)
            return self._held[block]
        values = self._held[block] = self._site.file(block).read_arrays()
        while len(self._held) > 1 and sum(map(_bytes_of, self._held.values())) > HELD_BYTES:
            self._held.popitem(last=False)
        return values


def _bytes_of(values: Mapping[str, npt.NDArray[Any]]) -> int:
    return sum(column.nbytes for column in values.values())
