"""Sums of blocks become sums of particles, some hundred thousand at a time, in order of their labels.

Each block's file is read once, whatever the order of labels over the blocks, and merged once, however often the sums
are asked for. What is held are the rows of a few ranges of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from ps3d_core.engine.block_step import Site
from ps3d_core.particles.sums import BESIDE, LabelSums, merge
from ps3d_core.store.ledger import Record
from ps3d_core.store.sorted_runs import SortedRuns

LABELS_AT_ONCE: Final = 2**18
"""Particles merged at once, and with it the row groups of the Parquet file."""


class MergedSums(Iterable[LabelSums]):
    """Sums of particles in rising order of label, `LABELS_AT_ONCE` of them at a time; may be gone through again."""

    def __init__(self, records: Sequence[Record], site: Site) -> None:
        """Merge the sums that blocks have left at the site; `records` say how many labels each block has."""
        blocks = SortedRuns("labels", BESIDE)
        used: dict[str, set[int]] = {name: set() for name in BESIDE}
        for index, record in enumerate(records):
            if record["labels"]:
                arrays = site.file(index).read_arrays()
                blocks.add(arrays)
                for name in BESIDE:
                    used[name].update(arrays[name].tolist())
        self._windows = {name: np.array(sorted(windows), np.int64) for name, windows in used.items()}
        self._merged = SortedRuns("labels")
        for parts in blocks.ranges(LABELS_AT_ONCE):
            self._merged.add(merge(LabelSums.with_windows(part, self._windows) for part in parts)._asdict())

    def __iter__(self) -> Iterator[LabelSums]:
        has_grey = any(map(len, self._windows.values()))
        for arrays in self._merged.batches(LABELS_AT_ONCE):
            sums = LabelSums.from_arrays({**arrays, **self._windows})
            yield sums.normalised() if has_grey else sums
