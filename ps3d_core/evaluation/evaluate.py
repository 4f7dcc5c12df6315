"""Two label images on a store, block by block, to one `Evaluation`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.evaluation.contingency import Contingency, count_pairs, merge
from ps3d_core.evaluation.metrics import Evaluation, evaluate_contingency, right_particles
from ps3d_core.evaluation.reliability import Reliability, reliability
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import EVALUATION_BYTES
from ps3d_core.particles.table import read_columns
from ps3d_core.scan.label_checks import FILLS, filling
from ps3d_core.store.arrays import read_box
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 2
"""Raise when a change of the code changes a figure: finished work of older code is then redone."""


class Compared(BaseModel):
    """What was found of two label images."""

    model_config = ConfigDict(frozen=True)

    evaluation: Evaluation
    doubts: tuple[str, ...] = Field(description="why the images may hold no particles")


class Right(NamedTuple):
    """Predicted labels, rising, and which of them match a true particle at IoU > 0.5, (n,) each."""

    labels: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison(BlockStep[Compared]):
    """Step that counts which labels of two images share how many voxels, and works out how well they agree.

    Attributes:
        prediction: label image (z, y, x), 0 is background.
        truth: another one of the same shape.
        identities: what tells the contents of both from others.
        place: folder of the ledgers, and of what blocks count.
        block_shape: of blocks, (z, y, x); the largest that is good and fits when absent.

    """

    prediction: Location
    truth: Location
    identities: tuple[str, str]
    place: Location
    block_shape: Shape | None = None

    name, title, found = "evaluate", "evaluate", Compared
    bytes_per_voxel = EVALUATION_BYTES

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of what is counted and of the figures."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Contents of both images."""
        return self.identities

    @property
    def folder(self) -> Location:
        """Folder of the ledgers, and of what blocks count."""
        return self.place

    @property
    def volume(self) -> Location:
        """True label image."""
        return self.truth

    @property
    def particles(self) -> Location:
        """File of the predicted particles, an .npz: see `Right`."""
        return self.place / f"particles-{self.fingerprint[:16]}.npz"

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the predicted particles."""
        return {"particles": self.particles}

    def grid(self, context: Context) -> BlockGrid:
        """Return how both images are cut. Raise `InputError` when their shapes differ, or chunks exceed the memory."""
        arrays = open_image(self.prediction), open_image(self.truth)
        if arrays[0].shape != arrays[1].shape:
            raise InputError(
                f"{self.prediction} of {arrays[0].shape} voxels, {self.truth} of {arrays[1].shape}: "
                "the shapes must be the same; give two label images of one scan"
            )
        for array in arrays:
            require_chunk_fits(array, context.memory_bytes)
        return super().grid(context)

    def work(self, block: Block, site: Site) -> Record:
        """Count the voxels that every two labels share in one block; return how many pairs there are."""
        prediction, truth = (read_box(open_image(image), block.core) for image in (self.prediction, self.truth))
        table = count_pairs(prediction, truth, (str(self.prediction), str(self.truth)))
        site.file(block.index).write_arrays(prediction=table.prediction, truth=table.truth, voxels=table.voxels)
        return {"pairs": len(table.voxels)}

    def merge(self, records: Sequence[Record], site: Site) -> Compared:
        """Add up what the blocks counted; return all figures, and doubts."""
        table = merge(_table(site.file(block.index)) for block in site.grid)
        self.particles.write_arrays(**Right(*right_particles(table))._asdict())
        labels = {"prediction": table.prediction, "truth": table.truth}
        doubts = {name: _doubt_about(labels[name], table.voxels) for name in labels}
        return Compared(
            evaluation=evaluate_contingency(table),
            doubts=tuple(f"{name}: {doubt}" for name, doubt in doubts.items() if doubt is not None),
        )


def evaluate(
    prediction: Location,
    truth: Location,
    *,
    table: Location | None = None,
    work: Location | None = None,
    block_shape: Shape | None = None,
    context: Context | None = None,
) -> Evaluation:
    """Return the agreement of the particles of two label images (z, y, x) of one shape; 0 is background.

    With the particle `table` of the prediction, say how far the confidences in it can be relied on. Blocks finished in
    `work` are not counted again; without it a temporary folder of this machine serves, which workers on other machines
    cannot see. `block_shape` is chosen to fit the memory of the `context` when absent; no figure depends on it. What
    looks like a mask or a background is noted. Raise `InputError` when the shapes differ or an image holds no labels.
    """
    context = context or Context()
    columns = None if table is None else read_columns(table, ["label", "confidence"])  # before the work
    with _folder(work) as folder:
        found, particles = compare(prediction, truth, folder, context, block_shape)
    for doubt in found.doubts:
        context.progress.note(doubt)
    if columns is None:
        return found.evaluation
    if not np.array_equal(particles.labels, columns["label"]):
        raise InputError(f"{table}: has other labels than the prediction; give the table of this label image")
    relied: Reliability | None = reliability(columns["confidence"], particles.right)
    return found.evaluation.model_copy(update={"reliability": relied})


def compare(
    prediction: Location, truth: Location, work: Location, context: Context, block_shape: Shape | None = None
) -> tuple[Compared, Right]:
    """Compare two label images in `work`, unless it is done there; return what was found, and of every particle."""
    identities = content_identity(prediction), content_identity(truth)
    comparison = Comparison(prediction, truth, identities, work, block_shape)
    found = Engine(work, [comparison]).run_all(context).of(Comparison)
    return found, Right(**comparison.particles.read_arrays())


def _table(file: Location) -> Contingency:
    arrays = file.read_arrays()
    prediction, truth, voxels = (np.asarray(arrays[name], np.int64) for name in ("prediction", "truth", "voxels"))
    return Contingency(prediction, truth, voxels)


def _doubt_about(labels: npt.NDArray[np.int64], voxels: npt.NDArray[np.int64]) -> str | None:
    """Return a note on an image in which nothing but a mask or a background seems to be labelled, None for others.

    It is not refused: a prediction may be as bad as that.
    """
    present, rows = np.unique(labels, return_inverse=True)
    sizes = np.where(present > 0, np.bincount(rows, voxels, len(present)), 0)
    if (largest := sizes.max()) > FILLS * voxels.sum():
        return filling(int(present[sizes.argmax()]), largest / voxels.sum())
    return f"one label only, {present[-1]}: a mask?" if np.count_nonzero(sizes) == 1 else None


@contextmanager
def _folder(work: Location | None) -> Iterator[Location]:
    if work is not None:
        yield work
        return
    with tempfile.TemporaryDirectory(prefix="ps3d-evaluate-") as folder:
        yield Location.parse(folder)
