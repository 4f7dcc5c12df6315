"""Which stride, weights and mirrorings are worth their time: `python -m ps3d_core.training.validate --sweep FILE`.

Every combination is tried on held-out phantoms. What costs time is the network, and it sees each patch of a stride once
in each mirror image: sigmas and sets of mirrorings differ in how its answers are added up, and are added up side by
side. Rows are written as they come, so that a sweep goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.evaluation.metrics import Evaluation, evaluate_arrays
from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.inference.aggregate import RollingAccumulator
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.inference.plan import walk_axis
from ps3d_core.inference.predict import Predicted
from ps3d_core.inference.sample import NetworkView, PaddedView
from ps3d_core.inference.weights import gaussian_weights
from ps3d_core.network.computation import Computation
from ps3d_core.network.ensemble import Predictor
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.measured import IOU_LEVELS, level_numbers
from ps3d_core.plan import SegmentPlan
from ps3d_core.quality import EVERY, OPPOSITE, PAIRS, PLAIN, Mirrorings, Quality
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.arrays import create_array, read_box, write_box
from ps3d_core.store.ome import open_image

STRIDES: Final = (0.5, 0.625, 0.75, 0.9)
SIGMAS: Final = (1 / 8, 3 / 16, 1 / 4, 0.3)
MIRRORINGS: Final[tuple[Mirrorings, ...]] = (PLAIN, OPPOSITE, PAIRS, EVERY)

COMBINATIONS: Final = tuple(Quality(*numbers) for numbers in product(STRIDES, SIGMAS, MIRRORINGS))

Known = npt.NDArray[np.uint8]
"""Class of every voxel, and how probable it is, 255 for certain: (2, z, y, x)."""
Row = dict[str, Any]


def sweep_scan(plan: SegmentPlan, file: Path, qualities: Sequence[Quality] = COMBINATIONS) -> None:
    """Append one JSON line per quality to `file`, unless it has it: model, scan, parameters, passes and scores.

    Args:
        plan: of a scan's segmentation; its quality does not count, and its dataset has the truth.
        file: of lines that earlier calls wrote, or none.
        qualities: to be tried.

    """
    about = {"scan": plan.job.scan, "model": plan.bundle.info.digest}
    known = {_key(row) for row in read_rows(file)}
    missing = [each for each in qualities if _key(about | _numbers(each)) not in known]
    for stride in sorted({each.stride for each in missing}, reverse=True):  # the cheapest first
        for quality, evaluation in evaluations(plan, [each for each in missing if each.stride == stride]):
            with file.open("a") as lines:
                lines.write(f"{json.dumps(about | _numbers(quality) | _scores(evaluation))}\n")


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a file of JSON lines; what a kill left of a last one is cut off."""
    if not file.exists():
        return []
    whole, end, _ = file.read_text().rpartition("\n")
    file.write_text(whole + end)
    return [json.loads(line) for line in whole.splitlines()]


def means(rows: Iterable[Row]) -> list[Row]:
    """Return the means over scans of every combination and model, the cheapest first, and of how many scans."""
    groups: dict[tuple[float, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["passes"], row["stride"], row["mirrorings"], row["sigma"]), []).append(row)
    scores = [f"f1_at_{iou:g}" for iou in IOU_LEVELS] + ["splits", "merges"]
    return [
        {key: group[0][key] for key in ("stride", "sigma", "mirrorings", "passes")}
        | {"scans": len(group)}
        | {score: round(fmean(row[score] for row in group), 3) for score in scores}
        for _, group in sorted(groups.items())
    ]


def evaluations(plan: SegmentPlan, qualities: Sequence[Quality]) -> Iterator[tuple[Quality, Evaluation]]:
    """Yield how well particles agree with the truth for each of `qualities`, which have one stride.

    The plan's own quality does not count.
    """
    dataset, scan = plan.job.dataset, plan.job.scan
    truth = read_box(open_image(dataset.truth(scan)), Box.of(plan.scale.scan_shape))
    steps = [GreyValues(plan)]
    done = Engine(plan.work, steps).run_all(Context())
    found = known_by_quality(plan, done.of(GreyValues).intensity, qualities)
    for quality, known in found.items():
        yield quality, evaluate_arrays(_particles(plan, quality, known), truth)


def known_by_quality(plan: SegmentPlan, intensity: Intensity, qualities: Sequence[Quality]) -> Mapping[Quality, Known]:
    """Return the border-core labels and their certainty on the network grid of each of `qualities`, of one stride.

    Bits are those of prediction with one network; of ensembles they may differ in near ties.
    """
    (stride,) = {quality.stride for quality in qualities}
    axis = walk_axis(plan.scale.network_shape)
    patches = plan.prediction.patches
    grid = replace(patches, stride=replace(qualities[0], stride=stride).strides(patches.patch)).turned(axis)
    view = PaddedView(NetworkView(open_image(plan.image), plan.scale.network_shape, axis), grid, intensity)
    values = torch.from_numpy(view.read(Box.of(grid.padded_shape)))
    networks = plan.bundle.networks(torch.device(plan.computation.device), plan.job.params.predict.folds)
    seen = tuple(axes for axes in EVERY if any(axes in quality.mirrorings for quality in qualities))
    with PatchEvaluator(_EachMirroring(networks, seen, plan.computation), skip_empty=plan.skips_empty) as evaluate:
        return _Sums(grid, axis, qualities, seen).filled(values, evaluate)


class _EachMirroring(Predictor):
    """Answers of every mirroring by itself, (B, M, 3, z, y, x)."""

    def __init__(self, networks: Sequence[torch.nn.Module], mirrorings: Mirrorings, computation: Computation) -> None:
        threads = torch.get_num_threads()
        super().__init__(networks, computation=computation, threads=threads)
        self._single = [Predictor(networks, (axes,), computation=computation, threads=threads) for axes in mirrorings]

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        return torch.stack([predictor(patches).cpu() for predictor in self._single], dim=1)


class _Sums:
    """Weighted sums of all qualities, side by side."""

    def __init__(self, grid: PatchGrid, axis: int, qualities: Sequence[Quality], seen: Mirrorings) -> None:
        self._grid, self._axis, self._seen = grid, axis, seen
        self._core = grid.to_padded(Box.of(grid.shape))
        weights = {each.sigma: torch.from_numpy(gaussian_weights(grid.patch, each.sigma)) for each in qualities}
        self._sums = {each: RollingAccumulator(self._core, weights[each.sigma], 0) for each in qualities}

    def filled(self, values: torch.Tensor, evaluate: PatchEvaluator) -> dict[Quality, Known]:
        """Evaluate all patches of the padded volume and return what is known of its voxels."""
        zs, ys, xs = self._grid.origins
        depth, height, width = self._grid.patch
        known: dict[Quality, list[Known]] = {quality: [] for quality in self._sums}
        for z, next_z in pairwise((*zs, self._core.stop[0])):
            corners = list(product(ys, xs))
            cuts = (values[z : z + depth, y : y + height, x : x + width] for y, x in corners)
            answers = evaluate([(cut.transpose(0, self._axis) for cut in cuts)])
            for (y, x), by_mirroring in zip(corners, answers, strict=True):
                self._add((z, y, x), by_mirroring)
            for quality, sums in self._sums.items():
                known[quality].append(sums.advance(next_z))
        first = self._core.start[0]
        whole = {quality: np.concatenate(parts, axis=1)[:, first:] for quality, parts in known.items()}
        return {quality: values.swapaxes(1, 1 + self._axis) for quality, values in whole.items()}

    def _add(self, origin: tuple[int, int, int], by_mirroring: torch.Tensor) -> None:
        mean: dict[Mirrorings, torch.Tensor] = {}
        by_mirroring = by_mirroring.expand(len(self._seen), *[-1] * 4)  # what was not evaluated is the same for all
        for quality, sums in self._sums.items():
            if quality.mirrorings not in mean:
                mean[quality.mirrorings] = self._mean(by_mirroring, quality.mirrorings).transpose(1, 1 + self._axis)
            sums.add(origin, mean[quality.mirrorings])

    def _mean(self, by_mirroring: torch.Tensor, mirrorings: Mirrorings) -> torch.Tensor:
        """Added in the order of a predictor, so that the bits are the same."""
        total = torch.zeros_like(by_mirroring[0])
        for axes in mirrorings:
            total += by_mirroring[self._seen.index(axes)]
        return total.div_(len(mirrorings))


@dataclass(frozen=True)
class _Known(BorderCore):
    """The step of prediction, with labels that are known."""

    known: Known

    def make(self, done: Outcomes, context: Context) -> Predicted:
        for output, values in zip((self.labels, self.certainty), self.known, strict=True):
            write_box(create_array(output, values.shape, "uint8", overwrite=True), Box.of(values.shape), values)
        return Predicted(patches_evaluated=0, patches_constant=0, patches_unique=0, forward_seconds=0)


def _particles(plan: SegmentPlan, quality: Quality, values: Known) -> npt.NDArray[Any]:
    """Labels on the scan grid."""
    plan = replace(plan, prediction=replace(plan.prediction, quality=quality))
    grey_values = GreyValues(plan)
    known = _Known(plan, grey_values, values)
    instances = Instances(plan, known)
    steps = (grey_values, known, instances, LabelImage(plan, instances))
    Engine(plan.work, steps).run_all(Context())
    return read_box(open_image(plan.job.result.labels), Box.of(plan.scale.scan_shape))


def _numbers(quality: Quality) -> Row:
    return {**level_numbers(quality), "passes": round(quality.passes, 2)}


def _scores(evaluation: Evaluation) -> Row:
    scores: Row = {f"f1_at_{iou:g}": round(evaluation.f1_by_threshold[f"{iou:.2f}"], 4) for iou in IOU_LEVELS}
    return scores | {"splits": evaluation.splits, "merges": evaluation.merges}


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("scan", "model", "stride", "sigma", "mirrorings"))
