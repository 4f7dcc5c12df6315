"""Border-core labels of a whole scan: every patch evaluated once, in a walk that can be resumed.

Three things overlap in time: a thread reads and resamples the slices of the next rows, the network evaluates the
present row, a thread writes finished rows of shards. A row of shards enters the row ledger when it is on the
store; a block that is started again begins at its first unfinished row with the patches that reach into it, in the
same order, so the bytes are the same.

A scan that lies on its side is walked along another axis than z. All of a walk is in the turned volume, where that axis
comes first and is called z; only the network sees patches, and the store gets labels, as they lie in the scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.classes import CERTAIN
from ps3d_core.engine.blocks import Runner, run_blocks, stop_workers, worker_number
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.inference.aggregate import RollingAccumulator
from ps3d_core.inference.empty import background
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.inference.plan import PredictionPlan, border_core_chunks, border_core_shards
from ps3d_core.inference.sample import NetworkView, PaddedView
from ps3d_core.inference.weights import gaussian_weights
from ps3d_core.memory import release_memory
from ps3d_core.memory_model import ACTIVATION_BYTES
from ps3d_core.network import openvino
from ps3d_core.network.architecture import CLASSES
from ps3d_core.network.bundle import Bundle, BundleInfo, load_bundle
from ps3d_core.network.computation import Computation
from ps3d_core.network.device import free_batch, held_device
from ps3d_core.network.ensemble import Predictor
from ps3d_core.network.intensity import Intensity
from ps3d_core.progress import SILENT, Progress
from ps3d_core.region.inside import GridRegion
from ps3d_core.store.arrays import ensure_array, object_shape, open_array, write_box
from ps3d_core.store.lease import require_lease
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.written import note_written, noting_writes
from ps3d_core.timeline import activity

Corner = tuple[int, int]

VERSION: Final = 2
"""Raise when a change of the code changes border-core labels: finished work of older code is then redone."""


@dataclass(frozen=True)
class Prediction:
    """All that decides the border-core labels of one scan. Small and picklable."""

    image: Location
    output: Location
    certainty: Location
    """How probable the class of every voxel is, uint8 on the network grid, 255 for certain."""
    work: Location
    model: str
    model_digest: str
    plan: PredictionPlan
    intensity: Intensity
    fingerprint: str
    folds: tuple[int, ...] | None = None
    computation: Computation = field(default_factory=Computation)
    skip_empty: bool = False
    """Take patches for background that are surely empty."""
    region: GridRegion | None = None
    """What lies outside of it is background, for certain; patches wholly outside are not evaluated."""
    batch_size: int | None = None
    threads: int | None = None
    """Patches at once in one worker, on a CPU; when absent, workers share the cores of their machine."""
    runner: Runner = field(default_factory=Runner)

    @property
    def patches_at_once(self) -> int:
        """Number of patches that a worker on this machine evaluates side by side, on a CPU."""
        return self.threads or max(1, torch.get_num_threads() // self.runner.workers)

    @property
    def ledger(self) -> Ledger:
        """Ledger of finished blocks."""
        # A block is a part of this plan's grid; another grid has other blocks.
        return Ledger(self.work, "predict", f"{self.fingerprint}-{_join(self.plan.blocks.block_shape)}")

    def row_ledger(self, block: Block) -> Ledger:
        """Return the ledger of finished rows of shards of one block, counted from its first one."""
        return Ledger(self.work, "predict-rows", f"{self.ledger.fingerprint}-{block.index}")


class Predicted(BaseModel):
    """Cost of prediction, in the call that finished it."""

    model_config = ConfigDict(frozen=True)

    patches_evaluated: int
    patches_constant: int = Field(description="of these, answered from memory, because all their voxels were equal")
    patches_empty: int = Field(default=0, description="of these, background without a look, because surely empty")
    patches_outside: int = Field(default=0, description="not evaluated, because wholly outside of the region")
    patches_unique: int = Field(description="patches of the scan; others were evaluated again at borders of blocks")
    forward_seconds: float = Field(description="time of the network's forward passes")
    computed_by: str = Field(default="PyTorch", description="engine with its version, precision, and kind of device")


def predict(prediction: Prediction, *, progress: Progress = SILENT) -> Predicted:
    """Write the border-core labels (uint8, network grid) at `prediction.output`, and beside them how certain they are.

    Return what prediction cost.
    """
    plan = prediction.plan
    made = [_ensure_array(array, plan.patches.shape) for array in (prediction.output, prediction.certainty)]
    if any(made):
        for block in plan.blocks:
            prediction.row_ledger(block).clear()
        prediction.ledger.clear()
    finished = prediction.ledger.finished()
    already = sum(plan.patches_of(block.core) for block in plan.blocks if block.index in finished)
    with progress.stage("predict", plan.evaluated, "patches", already=already) as stage:
        # Only threads share this process, and with it the way to report single patches.
        in_process = prediction.runner.kind == "threads"
        work = _BlockWalk(prediction, stage.advance if in_process else None)
        blocks, runner = list(plan.blocks), prediction.runner
        records = run_blocks("predict", blocks, work, ledger=prediction.ledger, runner=runner, finished=finished)
        if not in_process:
            stage.advance(plan.evaluated - already)
            stop_workers(prediction.runner)  # they keep torch, which the memory of later stages does not count
    openvino.release()
    now = [record for block, record in zip(plan.blocks, records, strict=True) if block.index not in finished]
    return Predicted(
        patches_evaluated=sum(record["patches"] for record in now),
        patches_constant=sum(record["constant"] for record in now),
        patches_empty=sum(record.get("empty", 0) for record in now),
        patches_outside=sum(record.get("outside", 0) for record in now),
        patches_unique=len(plan.patches),
        forward_seconds=sum(record["forward_seconds"] for record in now),
        computed_by=", ".join(sorted({record.get("computed_by", "PyTorch") for record in records})),
    )


@dataclass(frozen=True)
class _BlockWalk:
    """Work on one block; `report` is told the number of patches after each batch."""

    prediction: Prediction
    report: Callable[[int], None] | None = None

    def __call__(self, block: Block) -> Record:
        with held_device(self.prediction.computation.device, worker_number()) as device:
            record = _Walk(self.prediction, block, device).run(self.report or _ignore)
        note_written(self.prediction.row_ledger(block).written())
        return record


class _Walk:
    """One block from its first unfinished row of shards to its last one."""

    def __init__(self, prediction: Prediction, block: Block, device: torch.device) -> None:
        self._prediction = prediction
        self._block = block
        self._rows = prediction.row_ledger(block)
        self._axis = prediction.plan.walk_axis
        self._grid = prediction.plan.patches.turned(self._axis)
        self._box = block.core.turned(self._axis)
        self._core = self._grid.to_padded(self._box)
        self._outputs = [open_array(each, writable=True) for each in (prediction.output, prediction.certainty)]
        self._bundle = _unchanged_bundle(prediction)
        self._predictor = _predictor(prediction, self._bundle, device)
        self._device = device
        self._outside = 0
        weights = gaussian_weights(self._grid.patch, prediction.plan.quality.sigma)
        self._weights = torch.from_numpy(weights).to(self._device)

    def run(self, report: Callable[[int], None]) -> Record:
        rows = self._unfinished_rows()
        if rows:
            first, last = rows[0][0], rows[-1][1]
            zs = self._grid.touching(0, first, last)
            ys = self._grid.touching(1, self._core.start[1], self._core.stop[1])
            xs = self._grid.touching(2, self._core.start[2], self._core.stop[2])
            report(self._skipped(zs, ys, xs))
            accumulator = RollingAccumulator(self._core, self._weights, zs[0])
            with self._evaluator() as evaluate, _RowWriter(self._write_row, rows) as writer:
                answers = evaluate(self._patches(zs, ys, xs))
                for z, next_z in pairwise((*zs, last)):
                    require_lease()
                    inside, outside = self._sorted(z, ys, xs)
                    for (y, x), probabilities in zip(inside, answers, strict=False):  # those of later rows follow
                        accumulator.add((z, y, x), probabilities.transpose(1, 1 + self._axis))
                        report(1)
                    for y, x in outside:  # whose voxels all are, so that the order does not matter
                        accumulator.add((z, y, x), background(self._weights, CLASSES))
                        report(1)
                    self._outside += len(outside)
                    with activity("finish"):
                        writer.put(z, accumulator.advance(next_z))
                    release_memory()
            return self._record(evaluate)
        return self._record(None)

    def _sorted(self, z: int, ys: tuple[int, ...], xs: tuple[int, ...]) -> tuple[list[Corner], list[Corner]]:
        """Return those corners (y, x) whose patches at slice `z` reach into the region, and those whose do not."""
        region, corners = self._prediction.region, list(product(ys, xs))
        if region is None:
            return corners, []
        outside = [(y, x) for y, x in corners if region.is_outside(self._shown((z, y, x)))]
        left_out = set(outside)
        return [corner for corner in corners if corner not in left_out], outside

    def _shown(self, corner: Shape) -> Box:
        """Box of the network grid that a patch shows, as it lies in the scan."""
        shown, _ = self._grid.reflection(Box.of(self._grid.patch).shift(corner))
        return shown.turned(self._axis)

    def _record(self, evaluator: PatchEvaluator | None) -> Record:
        return {
            "patches": evaluator.patches if evaluator else 0,
            "constant": evaluator.constant if evaluator else 0,
            "empty": evaluator.empty if evaluator else 0,
            "outside": self._outside,
            "forward_seconds": evaluator.forward_seconds if evaluator else 0.0,
            "computed_by": self._prediction.computation.text_here,
        }

    def _evaluator(self) -> PatchEvaluator:
        batch = self._prediction.batch_size
        if batch is None and self._device.type == "cuda":
            torch.cuda.empty_cache()  # what earlier blocks left counts as free
            free, _ = torch.cuda.mem_get_info(self._device)
            batch = free_batch(free, patch_bytes(self._bundle.info))
        return PatchEvaluator(
            self._predictor,
            batch_size=batch,
            threads=self._prediction.patches_at_once,
            skip_empty=self._prediction.skip_empty,
        )

    def _unfinished_rows(self) -> list[tuple[int, int]]:
        """Rows of shards from the first unfinished one to the last, as padded slice ranges."""
        (start, _, _), (stop, _, _) = self._box.start, self._box.stop
        depth = self._row_depth
        rows = [(z, min(z + depth, stop)) for z in range(start, stop, depth)]
        finished = self._rows.finished()
        todo = [row for row in range(len(rows)) if row not in finished]
        padding = self._grid.padding_before(0)
        return [(a + padding, b + padding) for a, b in rows[todo[0] : todo[-1] + 1]] if todo else []

    @property
    def _row_depth(self) -> int:
        """Slices of a row of shards."""
        return object_shape(self._outputs[0])[self._axis]

    def _skipped(self, zs: tuple[int, ...], ys: tuple[int, ...], xs: tuple[int, ...]) -> int:
        return self._prediction.plan.patches_of(self._block.core) - len(zs) * len(ys) * len(xs)

    def _patches(
        self, zs: tuple[int, ...], ys: tuple[int, ...], xs: tuple[int, ...]
    ) -> Iterator[Iterator[torch.Tensor]]:
        """For every row of patches, its patches; they are views of what moves on with the next row."""
        for z, slab in zip(zs, self._slabs(zs, ys, xs), strict=True):
            inside, _ = self._sorted(z, ys, xs)
            cuts = (_cut(slab, y - ys[0], x - xs[0], self._grid.patch) for y, x in inside)
            yield (cut.transpose(0, self._axis) for cut in cuts)

    def _slabs(self, zs: tuple[int, ...], ys: tuple[int, ...], xs: tuple[int, ...]) -> Iterator[torch.Tensor]:
        """For every row of patches, the normalised slices it sees: (patch depth, y, x) on the device.

        The same tensor moves along; the slices of the next row are read while the caller uses the present one.
        """
        image = open_image(self._prediction.image)
        network = NetworkView(image, self._prediction.plan.patches.shape, self._axis)
        view = PaddedView(network, self._grid, self._prediction.intensity)
        depth, py, px = self._grid.patch
        (y0, y1), (x0, x1) = (ys[0], ys[-1] + py), (xs[0], xs[-1] + px)
        slab = torch.zeros((depth, y1 - y0, x1 - x0), dtype=torch.float32, device=self._device)
        # Pieces of at most a stride, so that the first slab needs no more memory than the later ones.
        pieces = _pieces(zs[0], zs[-1] + depth, self._grid.stride[0], stops=[z + depth for z in zs])
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:

            def read(piece: tuple[int, int]) -> Future[npt.NDArray[np.float32]]:
                bottom, top = piece
                return pool.submit(_read, view, Box((bottom, y0, x0), (top, y1, x1)))

            ahead = read(pieces[0])
            filled = zs[0]
            for z in zs:
                while filled < z + depth:
                    filled += _roll(slab, torch.from_numpy(ahead.result()))
                    pieces = pieces[1:]
                    if pieces:
                        ahead = read(pieces[0])
                yield slab

    def _write_row(self, start: int, known: npt.NDArray[np.uint8]) -> None:
        """Put one row of shards of both arrays on the store and in the ledger; `start` in padded coordinates."""
        padding = self._grid.padding_before(0)
        z = start - padding
        (_, y0, x0), (_, y1, x1) = self._box.start, self._box.stop
        box = Box((z, y0, x0), (z + known.shape[1], y1, x1))
        box = box.turned(self._axis)
        labels, certainty = (values.swapaxes(0, self._axis) for values in known)
        if self._prediction.region is not None:
            outside = ~self._prediction.region.inside(box)
            labels[outside], certainty[outside] = 0, CERTAIN
        with activity("write"), noting_writes() as written:
            for output, values in zip(self._outputs, (labels, certainty), strict=True):
                write_box(output, box, values)
        self._rows.record((z - self._box.start[0]) // self._row_depth, {}, written)


class _RowWriter:
    """Collects finished slices into rows of shards and writes each full row in a thread, one at a time."""

    def __init__(self, write: Callable[[int, npt.NDArray[np.uint8]], None], rows: list[tuple[int, int]]) -> None:
        self._write = write
        self._rows = list(rows)
        self._waiting: list[tuple[int, npt.NDArray[np.uint8]]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._writing: Future[None] | None = None

    def __enter__(self) -> _RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writing is not None and kind is None:
                self._writing.result()
        finally:
            self._pool.shutdown()

    def put(self, z: int, known: npt.NDArray[np.uint8]) -> None:
        """Take what is known of finished slices that begin at `z`, (2, dz, y, x); they follow the ones before."""
        self._waiting.append((z, known))
        top = z + known.shape[1]
        while self._rows and self._rows[0][1] <= top:
            start, stop = self._rows.pop(0)
            parts = [part[:, max(0, start - a) : stop - a] for a, part in self._waiting if a < stop]
            row = np.concatenate(parts, axis=1)
            self._waiting = [(a, part) for a, part in self._waiting if a + part.shape[1] > stop]
            if self._writing is not None:
                self._writing.result()
            self._writing = self._pool.submit(self._write, start, row)


def patch_bytes(info: BundleInfo) -> int:
    """Return the peak of memory that a forward pass of one patch takes."""
    return int(prod(info.patch_size) * info.architecture.features_per_stage[0] * ACTIVATION_BYTES)


def _ensure_array(place: Location, shape: Shape) -> bool:
    """Make an array on the network grid, unless it is there; return whether it was made."""
    return ensure_array(place, shape, "uint8", chunks=border_core_chunks(shape), shards=border_core_shards(shape))


def _unchanged_bundle(prediction: Prediction) -> Bundle:
    bundle = load_bundle(prediction.model)
    if bundle.info.digest != prediction.model_digest:
        raise InputError(f"model {prediction.model}: it changed since the run was planned; start the run again")
    return bundle


def _predictor(prediction: Prediction, bundle: Bundle, device: torch.device) -> Predictor:
    return Predictor(
        bundle.networks(device, prediction.folds),
        prediction.plan.quality.mirrorings,
        computation=prediction.computation,
        threads=prediction.patches_at_once,
    )


def _read(view: PaddedView, box: Box) -> npt.NDArray[np.float32]:
    with activity("read"):
        return view.read(box)


def _cut(slab: torch.Tensor, y: int, x: int, patch: Shape) -> torch.Tensor:
    return slab[:, y : y + patch[1], x : x + patch[2]]


def _roll(slab: torch.Tensor, fresh: torch.Tensor) -> int:
    """Move `slab` along by the `fresh` slices, which become its last ones; returns how many they are."""
    kept = len(slab) - len(fresh)
    for i in range(kept):
        slab[i] = slab[i + len(fresh)]
    slab[kept:] = fresh.to(slab.device)
    return len(fresh)


def _pieces(start: int, stop: int, longest: int, stops: list[int]) -> list[tuple[int, int]]:
    """Cut start..stop at every one of `stops` and wherever a piece would exceed `longest`."""
    cuts = sorted({start, stop, *stops})
    return [(z, min(z + longest, b)) for a, b in pairwise(cuts) for z in range(a, b, longest)]


def _join(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _ignore(_: int) -> None:
    return
