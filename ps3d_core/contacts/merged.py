"""The counts of blocks, added up pair by pair in rising order, however many pairs and blocks there are.

Each block's file is read once, whatever the order of labels over the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ps3d_core.contacts.pair_counts import PairCounts, merge_pairs, no_pairs
from ps3d_core.engine.block_step import Site
from ps3d_core.particles.surface import CUBES
from ps3d_core.store.ledger import Record
from ps3d_core.store.sorted_runs import SortedRuns


def merged_counts(records: Sequence[Record], site: Site, rows: int) -> Iterator[PairCounts]:
    """Yield the counts of the whole volume in rising order of pairs, about `rows` of the blocks' at a time."""
    blocks = SortedRuns("pairs")
    for index, record in enumerate(records):
        if record["pairs"]:
            blocks.add(site.file(index).read_arrays())
    for parts in blocks.ranges(rows):
        yield merge_pairs(PairCounts(**part) for part in parts)


def in_batches(parts: Iterable[PairCounts], rows: int, kinds: int = CUBES) -> Iterator[PairCounts]:
    """Yield the rows of all `parts`, `rows` at a time: how they came does not show in the file."""
    waiting = no_pairs(kinds)
    for part in parts:
        waiting = waiting.followed_by(part)
        while len(waiting.pairs) >= rows:
            yield waiting.rows(slice(rows))
            waiting = waiting.rows(slice(rows, None))
    if len(waiting.pairs):
        yield waiting
