"""Grey values of one scan, as they count for the z-score of a dataset, and the step that reads all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid, block_shape_for
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.params import GIB
from ps3d_core.scan.moments import Moments, merged, moments_of
from ps3d_core.store.arrays import object_shape, read_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 1
"""Raise when a change of the code changes the moments: what killed runs of older code have read is then read again."""

BLOCK_BYTES: Final = 64 * 2**20
"""Of a block as stored. Part of what the code is: another value changes the last digits of floats."""

COPIES: Final = 3
"""Of a block while it is read: encoded, decoded, in place."""


class ScanGrey(BaseModel):
    """Grey values of one scan, which it contributes to the z-score of a dataset."""

    model_config = ConfigDict(frozen=True)

    voxels: int
    dtype: str
    identity: str
    mean: float | None = Field(description="of the voxels that were read; None when none was")
    std: float | None
    moments: Record | None = Field(default=None, description="exact: to be merged with those of other scans")
    version: int = Field(default=1, description="of the code that read the voxels; not written while it is the first")


@dataclass(frozen=True, slots=True)
class ScanToRead:
    """A scan whose grey values count for a z-score."""

    name: str
    image: Location
    shape: Shape
    dtype: str
    identity: str


@dataclass(frozen=True)
class ScanMoments(BlockStep[ScanGrey]):
    """Step that reads every voxel of a scan once, for its share of an exact z-score."""

    dataset: Dataset
    scan: ScanToRead
    title: str

    name, found = "moments", ScanGrey

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the moments."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the scan, which decides how it is cut as well."""
        return (self.scan.identity,)

    @property
    def folder(self) -> Location:
        """Folder of the scan among the intermediates of the z-score."""
        return self.dataset.zscore_work / self.scan.name

    @property
    def volume(self) -> Location:
        """Image of the scan."""
        return self.scan.image

    @property
    def bytes_per_voxel(self) -> float:
        """Peak of memory per voxel of a block: as encoded, decoded and in its place."""
        return COPIES * self._item_bytes

    def grid(self, context: Context) -> BlockGrid:
        """Return blocks of whole shards (or chunks), so that each is read once.

        Their shape depends on the array alone, so that memory and workers decide nothing about the last digits. Raise
        `InputError` when one shard takes more than the memory.
        """
        sides = [min(side, n) for side, n in zip(object_shape(open_image(self.volume)), self.scan.shape, strict=True)]
        chunk, item = (sides[0], sides[1], sides[2]), self._item_bytes
        smallest = prod(chunk) * item
        if COPIES * smallest > context.memory_bytes:
            raise InputError(
                f"{self.volume}: chunks of {chunk} voxels need {COPIES * smallest / GIB:.1f} GiB to read, the memory "
                f"budget is {context.memory_bytes / GIB:.1f} GiB",
                "raise <memory>",
                "ingest the scan, which makes small chunks",
            )
        most = max(BLOCK_BYTES, smallest)
        return BlockGrid(
            self.scan.shape, block_shape_for(self.scan.shape, chunk, bytes_per_voxel=item, memory_bytes=most)
        )

    def make(self, done: Outcomes, context: Context) -> ScanGrey:
        """Read every block that is not finished, as many at once as fit the memory; return the scan's grey values."""
        block_bytes = prod(self.grid(context).block_shape) * self.bytes_per_voxel
        workers = max(1, min(context.runner.workers, int(context.memory_bytes // block_bytes)))
        runner = context.runner.model_copy(update={"workers": workers})
        return super().make(done, replace(context, runner=runner))

    def work(self, block: Block, site: Site) -> Record:
        """Read one block and return its moments."""
        moments = moments_of(read_box(open_image(self.volume), block.core))
        require_finite(self.scan, block.core, moments.mean, moments.deviations)
        return moments.to_record()

    def merge(self, records: Sequence[Record], site: Site) -> ScanGrey:
        """Return the grey values of all blocks together."""
        total = merged(map(Moments.from_record, records))
        return ScanGrey(
            voxels=total.count,
            dtype=self.scan.dtype,
            identity=self.scan.identity,
            mean=float(total.mean),
            std=total.std,
            version=VERSION,
            moments=total.to_record(),
        )

    @property
    def _item_bytes(self) -> int:
        return np.dtype(self.scan.dtype).itemsize


def require_finite(scan: ScanToRead, box: Box, *numbers: Any) -> None:
    """Raise `InputError` that names the voxels of `box` when one of the `numbers` found there is not finite."""
    if not all(isfinite(number) for number in numbers):
        raise InputError(
            f"scan {scan.name!r}, voxels {box.start} to {box.stop}: grey values that are infinite, not a number, or "
            "too large to be squared; replace them, for example with the value of air"
        )
