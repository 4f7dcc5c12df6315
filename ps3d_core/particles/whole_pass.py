"""Pass over whole particles: each is measured once, by the block in which its box begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.step import Context
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.spacing import per_axis
from ps3d_core.memory_model import BLOCK_WORKER_BYTES, LABELS_BYTES
from ps3d_core.particles.boxes import read_boxes
from ps3d_core.particles.cutouts import CUTOUT_VOXELS, Images, cutouts
from ps3d_core.particles.sample import Sample
from ps3d_core.particles.whole import Cutout, WholeMeasure
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 1
"""Raise when a change of the code changes the cutouts: finished work of older code is then redone."""


class WholeFound(BaseModel):
    """What blocks have left of whole particles."""

    model_config = ConfigDict(frozen=True)

    blocks: tuple[Record, ...] = Field(description="of each block how many particles it has measured")


@dataclass(frozen=True)
class WholeParticles(BlockStep[WholeFound]):
    """Step that measures particles of which all voxels are needed at once.

    Each block leaves a file of its particles: their labels, `ids`, and an array for each column of the measures.

    Attributes:
        sample: what is measured.
        measures: by which measures.
        identity: digest of the contents of label image and images.
        place: folder of the ledgers, and of the values that blocks leave.
        blocks_of: blocks by which particles are listed.
        boxes: folder of these lists, see `ps3d_core.particles.boxes`.

    """

    sample: Sample
    measures: tuple[WholeMeasure, ...]
    identity: str
    place: Location
    blocks_of: BlockGrid
    boxes: Location

    name, title, found, kept = "shapes", "shapes", WholeFound, False

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of the cutouts and of each measure."""
        return (VERSION, *(measure.version for measure in self.measures))

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Contents of the images, the edge of a voxel, and what measures are told."""
        told = ([type(measure).__name__, *measure.parameters] for measure in self.measures)
        return (self.identity, self.sample.spacing, *told)

    @property
    def folder(self) -> Location:
        """Folder of the ledger, and of the values that blocks leave."""
        return self.place

    @property
    def volume(self) -> Location:
        """Label image."""
        return self.sample.labels

    def grid(self, context: Context) -> BlockGrid:
        """Return the blocks by which particles were listed."""
        return self.blocks_of

    def work(self, block: Block, site: Site) -> Record:
        """Measure the particles that begin in one block; return how many they are."""
        boxes = read_boxes(block.index, self.boxes)
        if not len(boxes.labels):
            return {"labels": 0}
        parts = [self._measured(cutout) for cutout in cutouts(self._images(), boxes)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(columns["ids"], kind="stable")
        site.file(block.index).write_arrays(**{name: values[order] for name, values in columns.items()})
        return {"labels": len(order)}

    def merge(self, records: Sequence[Record], site: Site) -> WholeFound:
        """Return what each block has left; the values stay there."""
        return WholeFound(blocks=tuple(records))

    def _measured(self, cutout: Cutout) -> dict[str, npt.NDArray[Any]]:
        values: dict[str, npt.NDArray[Any]] = {"ids": cutout.ids}
        for measure in self.measures:
            values |= measure.values(cutout)
        return values

    def _images(self) -> Images:
        wanted = {name for measure in self.measures for name in measure.images}
        others = {name: open_image(place) for name, place in self.sample.named_images.items() if name in wanted}
        return Images(open_image(self.volume), others, per_axis(self.sample.spacing), str(self.volume))


def with_room(context: Context, sample: Sample, measures: Sequence[WholeMeasure]) -> Context:
    """Return the context with so few workers, at least one, that their cutouts fit the memory together."""
    images = sum(open_image(place).dtype.itemsize for place in sample.named_images.values())
    cost = LABELS_BYTES + 2 * images + max(measure.bytes_per_voxel for measure in measures)
    fit = int(context.memory_bytes / (BLOCK_WORKER_BYTES + cost * CUTOUT_VOXELS))
    workers = max(1, min(context.runner.workers, fit))
    return replace(context, runner=context.runner.model_copy(update={"workers": workers}))
