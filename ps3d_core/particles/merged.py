"""Sums of blocks become sums of particles, some hundred thousand at a time, in order of their labels.

Ids follow the order of first voxels, so neighbouring labels lie in few blocks, and merging reads each block's file
about once. Whatever the number of particles and in however many blocks they lie, it holds the sums of one file and
of a few ranges of labels, and of the other files that a range needs the labels alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.engine.block_step import Site
from ps3d_core.particles.sums import LabelSums, merge
from ps3d_core.store.ledger import Record

LABELS_AT_ONCE: Final = 2**18
"""Particles merged at once, and with it the row groups of the Parquet file."""


def merged_sums(records: Sequence[Record], site: Site) -> Iterator[LabelSums]:
    """Yield the sums of particles in rising order of label, at most `LABELS_AT_ONCE` of them at a time."""
    # Smallest label of each block that was not yielded yet.
    waiting = {index: int(record["first"]) for index, record in enumerate(records) if record["labels"]}
    while waiting:
        # The next labels, counted and not by their value: foreign labels may have gaps of any width.
        labels, stop = np.empty(0, np.uint32), 0
        ahead: dict[int, npt.NDArray[np.uint32]] = {}
        parts: list[LabelSums] = []
        for index, first in sorted(waiting.items(), key=itemgetter(1)):
            if len(labels) == LABELS_AT_ONCE and first > labels[-1]:
                break
            sums = LabelSums.from_arrays(site.file(index).read_arrays())
            ahead[index] = sums.labels[sums.labels >= first]
            labels = np.union1d(labels, ahead[index])[:LABELS_AT_ONCE]
            stop = int(labels[-1]) + 1
            parts = _folded([*parts, sums.between(first, stop)], stop)
        for index, own in ahead.items():
            later = own[own >= stop]
            if len(later):
                waiting[index] = int(later[0])
            else:
                del waiting[index]
        yield _merged(parts, stop)


def _folded(parts: list[LabelSums], stop: int) -> list[LabelSums]:
    """The `parts`, made one when they are many rows: a range may lie in any number of blocks."""
    rows = sum(len(part.labels) for part in parts)
    return [_merged(parts, stop)] if rows > 2 * LABELS_AT_ONCE else parts


def _merged(parts: list[LabelSums], stop: int) -> LabelSums:
    """Sums of the labels below `stop`, where the range has ended since a part was read."""
    return merge(part.between(0, stop) for part in parts)
