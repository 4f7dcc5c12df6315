"""The counts of blocks, added up pair by pair in rising order, however many pairs and blocks there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from ps3d_core.contacts.pair_counts import PairCounts, merge_pairs, no_pairs
from ps3d_core.engine.block_step import Site
from ps3d_core.particles.surface import CUBES
from ps3d_core.store.ledger import Record


def merged_counts(records: Sequence[Record], site: Site, kinds: int = CUBES) -> Iterator[PairCounts]:
    """Yield the counts of the whole volume in rising order of pairs, some at a time.

    Labels follow the order of first voxels, so what is still open lies in few blocks: a pair is complete as soon as
    the lower of its labels is below all labels of the blocks that were not read.
    """
    waiting = sorted((record["first"], index) for index, record in enumerate(records) if record["pairs"])
    open_counts = no_pairs(kinds)
    for (_, index), (following, _) in pairwise([*waiting, (2**32, -1)]):
        open_counts = merge_pairs(open_counts, PairCounts(**site.file(index).read_arrays()))
        complete = open_counts.lower < following
        if complete.any():
            yield open_counts.rows(complete)
            open_counts = open_counts.rows(~complete)


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
