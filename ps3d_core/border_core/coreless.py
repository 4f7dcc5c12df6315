"""Components without a core: each is a particle of its own.

Growth reaches every voxel of a component that has a core, so what is pending after the last round forms whole
26-connected components. Growth labelled their pieces block by block; here they are joined across faces, edges and
corners, as cores are, and numbered after them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.border_core.pieces import merge_pieces
from ps3d_core.border_core.plan import InstancesPlan
from ps3d_core.border_core.rounds import read_grown
from ps3d_core.border_core.seams import Labels
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location


class CorelessNumbers(NamedTuple):
    """From coreless pieces of blocks to coreless components of the volume.

    offsets: (bz, by, bx) int64, serials before each block.
    numbers: (pieces + 1,) uint32; by serial, 1..n in C order of the first voxel.
    voxels: (n,) int64, of each component.
    """

    offsets: npt.NDArray[np.int64]
    numbers: Labels
    voxels: npt.NDArray[np.int64]


def merge_coreless(plan: InstancesPlan, *, progress: Progress = SILENT) -> Record:
    """Join what growth left over across blocks. Returns the number of components."""
    with progress.stage("merge coreless", 1, "tables") as stage:
        merged = plan.ledger("merge-coreless", plan.growth_fingerprint)
        found = merged.once(lambda: _write_numbers(plan), [plan.coreless_numbers])
        stage.advance()
    return found


@lru_cache(maxsize=1)
def coreless_numbers(location: Location) -> CorelessNumbers:
    """The table of `merge_coreless`. Kept between blocks: the location's name is a fingerprint of the content."""
    return CorelessNumbers(**location.read_arrays())


def _write_numbers(plan: InstancesPlan) -> Record:
    grid, grown = plan.blocks(), read_grown(plan)
    pieces = merge_pieces(
        grid, grown.pending, lambda index: grown.pieces_at(plan, index), diagonal=True, sums=("voxels",)
    )
    components = pieces.in_scan_order(pieces.components())
    plan.coreless_numbers.write_arrays(
        offsets=pieces.offsets[:-1].reshape(grid.counts),
        numbers=pieces.numbers(components),
        voxels=pieces.sums["voxels"][components],
    )
    return {"coreless": len(components)}
