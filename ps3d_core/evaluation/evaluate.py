"""Two label images on a store, block by block, to one `Evaluation`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.errors import InputError
from ps3d_core.evaluation.contingency import Contingency, count_pairs, merge
from ps3d_core.evaluation.metrics import Evaluation, evaluate_contingency
from ps3d_core.geometry.blocks import Block, BlockGrid, block_shape_for
from ps3d_core.geometry.boxes import Shape
from ps3d_core.memory_model import EVALUATION_BYTES
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.label_checks import FILLS, filling
from ps3d_core.store.arrays import read_box
from ps3d_core.store.granule import reading_granule, require_chunk_fits
from ps3d_core.store.identity import content_identity
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image


def evaluate(
    prediction: Location,
    truth: Location,
    *,
    work: Location | None = None,
    block_shape: Shape | None = None,
    runner: Runner | None = None,
    memory_bytes: int = 2**31,
    progress: Progress = SILENT,
) -> Evaluation:
    """Return the agreement of the particles of two label images (z, y, x) of one shape; 0 is background.

    Blocks finished in `work` are not counted again; without it a temporary folder of this machine serves, which
    workers on other machines cannot see. `block_shape` is chosen to fit `memory_bytes` of all workers together when
    absent; no figure depends on it. What looks like a mask or a background is noted. Raise `InputError` when the
    shapes differ or an image holds no labels.
    """
    arrays = open_image(prediction), open_image(truth)
    if arrays[0].shape != arrays[1].shape:
        raise InputError(
            f"{prediction} of {arrays[0].shape} voxels, {truth} of {arrays[1].shape}: "
            "the shapes must be the same; give two label images of one scan"
        )
    for array in arrays:
        require_chunk_fits(array, memory_bytes)
    shape = cast(Shape, arrays[1].shape)
    block_shape = block_shape or block_shape_for(
        shape,
        reading_granule(arrays[1]),
        bytes_per_voxel=EVALUATION_BYTES,
        memory_bytes=memory_bytes,
        workers=runner.workers if runner else 1,
    )
    grid = BlockGrid(shape, block_shape)
    identity = fingerprint(content_identity(prediction), content_identity(truth), grid.block_shape)
    with _folder(work) as folder:
        count = _CountBlock(prediction, truth, folder / "contingency" / identity)
        ledger = Ledger(folder, "evaluate", identity)
        run_blocks("evaluate", list(grid), count, ledger=ledger, runner=runner, progress=progress)
        table = merge(count.table(block) for block in grid)
    for name, labels in (("prediction", table.prediction), ("truth", table.truth)):
        if (doubt := _doubt_about(labels, table.voxels)) is not None:
            progress.note(f"{name}: {doubt}")
    return evaluate_contingency(table)


def _doubt_about(labels: npt.NDArray[np.int64], voxels: npt.NDArray[np.int64]) -> str | None:
    """Return a note on an image in which nothing but a mask or a background seems to be labelled, None for others.

    It is not refused: a prediction may be as bad as that.
    """
    present, rows = np.unique(labels, return_inverse=True)
    sizes = np.where(present > 0, np.bincount(rows, voxels, len(present)), 0)
    if (largest := sizes.max()) > FILLS * voxels.sum():
        return filling(int(present[sizes.argmax()]), largest / voxels.sum())
    return f"one label only, {present[-1]}: a mask?" if np.count_nonzero(sizes) == 1 else None


@dataclass(frozen=True)
class _CountBlock:
    prediction: Location
    truth: Location
    folder: Location

    def __call__(self, block: Block) -> Record:
        prediction, truth = (read_box(open_image(image), block.core) for image in (self.prediction, self.truth))
        table = count_pairs(prediction, truth, (str(self.prediction), str(self.truth)))
        self._file(block).write_arrays(prediction=table.prediction, truth=table.truth, voxels=table.voxels)
        return {"pairs": len(table.voxels)}

    def table(self, block: Block) -> Contingency:
        arrays = self._file(block).read_arrays()
        prediction, truth, voxels = (np.asarray(arrays[name], np.int64) for name in ("prediction", "truth", "voxels"))
        return Contingency(prediction, truth, voxels)

    def _file(self, block: Block) -> Location:
        return self.folder / f"{block.index}.npz"


@contextmanager
def _folder(work: Location | None) -> Iterator[Location]:
    if work is not None:
        yield work
        return
    with tempfile.TemporaryDirectory(prefix="ps3d-evaluate-") as folder:
        yield Location.parse(folder)
