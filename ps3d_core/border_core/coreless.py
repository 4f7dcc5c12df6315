"""Components without a core: each is a particle of its own.

Growth reaches every voxel of a component that has a core, so what is pending after the last round forms whole
26-connected components. Growth labelled their pieces block by block; here they are joined across faces, edges and
corners, as cores are, and numbered after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.part import TablePart
from ps3d_core.border_core.pieces import merge_pieces
from ps3d_core.border_core.rounds import GrowCores
from ps3d_core.border_core.seams import Labels
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.store.location import Location


class CorelessNumbers(NamedTuple):
    """Table from coreless pieces of blocks to coreless components of the volume.

    offsets: (bz, by, bx) int64, serials before each block.
    numbers: (pieces + 1,) uint32; by serial, 1..n in C order of the first voxel.
    voxels: (n,) int64, of each component.
    certainty: (n,) int64, sum over the voxels of each component, 255 for each that is certain.
    reach: (6, n) int64, of each component, see `no_reach`.
    """

    offsets: npt.NDArray[np.int64]
    numbers: Labels
    voxels: npt.NDArray[np.int64]
    certainty: npt.NDArray[np.int64]
    reach: npt.NDArray[np.int64]


class Coreless(BaseModel):
    """Count of the coreless components in the whole volume."""

    model_config = ConfigDict(frozen=True)

    coreless: int = Field(description="components of the foreground without a core")


@dataclass(frozen=True)
class MergeCoreless(TablePart[Coreless]):
    """Step that joins, across blocks, what growth left over."""

    growth: GrowCores

    name, title, found = "coreless", "merge coreless", Coreless

    def make(self, done: Outcomes, context: Context) -> Coreless:
        """Join the coreless pieces in memory: one number per component."""
        grid, grown = self.plan.blocks(), done.of(GrowCores)
        with context.progress.stage(self.title, 1, "tables") as stage:
            pieces = merge_pieces(
                grid,
                grown.pending,
                lambda index: self.growth.pieces_of(grown, index),
                diagonal=True,
                sums=("voxels", "certainty"),
                reach=True,
            )
            components = pieces.in_scan_order(pieces.components())
            self.table.write_arrays(
                offsets=pieces.offsets[:-1].reshape(grid.counts),
                numbers=pieces.numbers(components),
                **{name: sums[components] for name, sums in pieces.sums.items()},
                reach=pieces.reach[:, components],
            )
            stage.advance()
        return Coreless(coreless=len(components))


@lru_cache(maxsize=1)
def coreless_numbers(location: Location) -> CorelessNumbers:
    """Return the table of `MergeCoreless`. Kept between blocks: the location's name is a fingerprint of the content."""
    return CorelessNumbers(**location.read_arrays())
