"""Coarser levels of an image, for viewing: each is the level before it, halved along every axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Nothing
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.store.arrays import ensure_array, open_array, read_box, shard_shape, write_box
from ps3d_core.store.halving import VIEWABLE, Method, half_shape, halve, level_shapes, method_for
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_name, image_origin, image_spacing, is_label_image, open_image, write_metadata
from ps3d_core.store.ownership import zarr_attributes

VERSION: Final = 1
"""Raise when a change of the code changes the coarser levels: finished work of older code is then redone."""


def build_pyramid(
    image: Location, work: Location, mark: str, *, viewable: int = VIEWABLE, context: Context | None = None
) -> list[Shape]:
    """Add the coarser levels 1, 2, ... to an image of this project until all sides are below `viewable` voxels.

    Args:
        image: OME-Zarr image; ids of a label image are not averaged.
        work: folder of the ledgers, by which blocks that are finished are not made again.
        mark: digest of what level 0 is made of.
        viewable: side in voxels.
        context: where blocks are worked on, and who hears of it.

    Returns:
        Shapes (z, y, x) of all levels.

    Raises:
        InputError: for what is no OME-Zarr image.

    """
    attributes = zarr_attributes(image)
    if "ome" not in attributes:
        raise InputError(f"{image}: not an OME-Zarr 0.5 image; coarser levels can only be added to one")
    base, label = open_image(image), is_label_image(image)
    method = method_for(base.dtype, label=label)
    shapes = level_shapes(cast(Shape, base.shape), viewable)
    levels = [CoarserLevel(f"pyramid-{n}", f"pyramid {n}", work, mark, image, n, method) for n in range(1, len(shapes))]
    Engine(work, levels).run_all(context or Context())
    write_metadata(
        image,
        shapes,
        spacing=image_spacing(image),
        origin=image_origin(image),
        name=image_name(image),
        label=label,
        method=method,
        attributes={key: value for key, value in attributes.items() if key != "ome"},
    )
    return shapes


@dataclass(frozen=True)
class CoarserLevel(BlockStep[Nothing]):
    """Step that makes one level of the one before it.

    Attributes:
        name: of its entries in the ledger.
        title: what progress calls it.
        place: folder of the ledger.
        mark: digest of what level 0 is made of.
        image: OME-Zarr image.
        level: number of the level, from 1.
        method: how voxels become one.

    """

    name: str
    title: str
    place: Location
    mark: str
    image: Location
    level: int
    method: Method

    found, kept = Nothing, False

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of halving."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Digest of what level 0 is made of, the number of the level, and how voxels become one."""
        return (self.mark, self.level, self.method)

    @property
    def folder(self) -> Location:
        """Folder of the ledger."""
        return self.place

    @property
    def finer(self) -> Location:
        """Array of the level that this one is made of."""
        return self.image / str(self.level - 1)

    @property
    def volume(self) -> Location:
        """Array of the level."""
        return self.image / str(self.level)

    def grid(self, context: Context) -> BlockGrid:
        """Return single shards: a block reads 256^3 voxels at most."""
        shape = half_shape(cast(Shape, open_array(self.finer).shape))
        return BlockGrid(shape, shard_shape(shape))

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the array, unless it is there."""
        if ensure_array(self.volume, site.grid.shape, open_array(self.finer).dtype):
            ledger.clear()

    def work(self, block: Block, site: Site) -> Record:
        """Halve what one block covers."""
        finer = open_array(self.finer)
        z, y, x = (2 * n for n in block.core.start)
        stop_z, stop_y, stop_x = (2 * n for n in block.core.stop)
        source = Box((z, y, x), (stop_z, stop_y, stop_x)).intersect(Box.of(cast(Shape, finer.shape)))
        write_box(open_array(self.volume, writable=True), block.core, halve(read_box(finer, source), self.method))
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> Nothing:
        """Return the empty finding."""
        return Nothing()
