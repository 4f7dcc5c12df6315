"""Coarser levels of an image, for viewing: each is the level before it, halved along every axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import ensure_array, open_array, read_box, shard_shape, write_box
from ps3d_core.store.halving import VIEWABLE, Method, halve, level_shapes, method_for
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_name, image_spacing, is_label_image, open_image, write_metadata
from ps3d_core.store.ownership import zarr_attributes

VERSION: Final = 1
"""Raise when a change of the code changes the coarser levels: finished work of older code is then redone."""


def build_pyramid(
    image: Location,
    ledger: Ledger,
    *,
    viewable: int = VIEWABLE,
    runner: Runner | None = None,
    progress: Progress = SILENT,
) -> list[Shape]:
    """Add the coarser levels 1, 2, ... to an image of this project until all sides are below `viewable` voxels.

    Blocks are single shards: one reads 256^3 voxels at most. Those that `ledger` knows are not made again. Ids of a
    label image are not averaged. Return the shapes of all levels; raise `InputError` for what is no OME-Zarr image.
    """
    attributes = zarr_attributes(image)
    if "ome" not in attributes:
        raise InputError(f"{image}: not an OME-Zarr 0.5 image; coarser levels can only be added to one")
    base, label = open_image(image), is_label_image(image)
    method = method_for(base.dtype, label=label)
    shapes = level_shapes(cast(Shape, base.shape), viewable)
    for level, shape in list(enumerate(shapes))[1:]:
        finished = Ledger(ledger.root, f"{ledger.stage}-{level}", ledger.fingerprint)
        if ensure_array(image / str(level), shape, base.dtype):
            finished.clear()
        blocks, work = list(BlockGrid(shape, shard_shape(shape))), _HalveBlock(image, level, method)
        run_blocks(f"pyramid {level}", blocks, work, ledger=finished, runner=runner, progress=progress)
    write_metadata(
        image,
        shapes,
        spacing=image_spacing(image),
        name=image_name(image),
        label=label,
        method=method,
        attributes={key: value for key, value in attributes.items() if key != "ome"},
    )
    return shapes


@dataclass(frozen=True, slots=True)
class _HalveBlock:
    image: Location
    level: int
    method: Method

    def __call__(self, block: Block) -> Record:
        finer = open_array(self.image / str(self.level - 1))
        z, y, x = (2 * n for n in block.core.start)
        stop_z, stop_y, stop_x = (2 * n for n in block.core.stop)
        source = Box((z, y, x), (stop_z, stop_y, stop_x)).intersect(Box.of(cast(Shape, finer.shape)))
        coarser = open_array(self.image / str(self.level), writable=True)
        write_box(coarser, block.core, halve(read_box(finer, source), self.method))
        return {}
