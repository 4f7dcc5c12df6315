"""From the contingency table to figures of merit.

A predicted and a true particle match when their intersection over union (IoU) exceeds a threshold. At 0.5 and above
a particle can have one partner at most, so matching needs no assignment problem: it is a comparison, made in whole
numbers. Only such thresholds are used here.

    precision = matches / predicted       recall = matches / true       F1 = 2 matches / (predicted + true)
    panoptic quality = mean IoU of the matches * F1          (Kirillov et al., CVPR 2019, arXiv 1801.00868)

A particle *lies in* a particle of the other image when more than half of its voxels do. A true particle in which
two or more predicted ones lie is split; a predicted particle in which two or more true ones lie is merged. Exchanging
prediction and truth therefore exchanges precision with recall and splits with merges, and leaves F1 and panoptic
quality alone. Particles that the scan's edge cuts count like all others: the edge cuts both images alike.

When there is nothing to find and nothing was found, agreement is perfect: every ratio is 1.
"""

from __future__ import annotations

from statistics import fmean
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, computed_field

from ps3d_core.evaluation.contingency import Contingency, Integers, Labels, count_pairs
from ps3d_core.evaluation.reliability import Reliability
from ps3d_core.particles.distribution import size_distribution

THRESHOLDS_PERCENT = tuple(range(50, 100, 5))


class Evaluation(BaseModel):
    """Agreement of predicted with true particles; matches at IoU > 0.5 unless a field says otherwise."""

    model_config = ConfigDict(frozen=True)

    predicted: int = Field(description="predicted particles")
    true: int = Field(description="true particles")
    matched: int = Field(description="pairs with IoU > 0.5")
    missed: int = Field(description="true particles without a match")
    spurious: int = Field(description="predicted particles without a match")
    splits: int = Field(description="true particles in which two or more predicted ones lie")
    merges: int = Field(description="predicted particles in which two or more true ones lie")
    precision: float
    recall: float
    f1: float = Field(description="F1 at IoU > 0.5")
    f1_by_threshold: dict[str, float] = Field(description="F1 at IoU > 0.50, 0.55, ... 0.95")
    mean_matched_iou: float = Field(description="mean IoU of the matched pairs; 0 without any")
    count_error: float | None = Field(description="(predicted - true) / true; None when there are only predicted ones")
    d50_error: float | None = Field(
        description="relative error of the median diameter by volume; None when an image has no particles"
    )
    reliability: Reliability | None = Field(default=None, description="of the confidences; None where none are known")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def f1_mean(self) -> float:
        """Mean of F1 over IoU > 0.50, 0.55, ... 0.95."""
        return fmean(self.f1_by_threshold.values())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def panoptic_quality(self) -> float:
        """Mean matched IoU (segmentation quality) * F1 (recognition quality)."""
        return self.mean_matched_iou * self.f1


def evaluate_arrays(prediction: Labels, truth: Labels) -> Evaluation:
    """Return the agreement of two label arrays of one shape held in memory; 0 is background.

    Raise `InputError` when the shapes differ or the arrays are not labels.
    """
    return evaluate_contingency(count_pairs(prediction, truth))


def evaluate_contingency(table: Contingency) -> Evaluation:
    """Return all figures of merit that follow from the table of shared voxels."""
    predicted, predicted_sizes, true_sizes, p, t, shared, union = _overlaps(table)
    counts = len(predicted), len(true_sizes)
    matches = {percent: shared * 100 > union * percent for percent in THRESHOLDS_PERCENT}
    at_half = matches[50]
    matched = int(at_half.sum())
    nothing = sum(counts) == 0
    iou = shared[at_half] / union[at_half]
    return Evaluation(
        predicted=counts[0],
        true=counts[1],
        matched=matched,
        missed=counts[1] - matched,
        spurious=counts[0] - matched,
        splits=_holding_several(t[2 * shared > predicted_sizes[p]], counts[1]),
        merges=_holding_several(p[2 * shared > true_sizes[t]], counts[0]),
        precision=_ratio(matched, counts[0], nothing),
        recall=_ratio(matched, counts[1], nothing),
        f1=_ratio(2 * matched, sum(counts), nothing),
        f1_by_threshold={
            f"{percent / 100:.2f}": _ratio(2 * int(match.sum()), sum(counts), nothing)
            for percent, match in matches.items()
        },
        mean_matched_iou=float(np.sort(iou).sum() / matched) if matched else float(nothing),
        count_error=(counts[0] - counts[1]) / counts[1] if counts[1] else (0.0 if nothing else None),
        d50_error=_d50_error(predicted_sizes, true_sizes),
    )


def right_particles(table: Contingency) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the predicted labels, rising, and which of them match a true particle at IoU > 0.5."""
    found = _overlaps(table)
    right = np.zeros(len(found.predicted), np.bool_)
    right[found.p[2 * found.shared > found.union]] = True
    return found.predicted, right


class _Overlaps(NamedTuple):
    """Particles, and every pair of a predicted and a true one that share voxels.

    predicted, predicted_sizes: labels, rising, and voxels in all, (n,).
    true_sizes: (m,).
    p, t: rows of the particles of each pair.
    shared, union: voxels of each pair.
    """

    predicted: Integers
    predicted_sizes: Integers
    true_sizes: Integers
    p: npt.NDArray[np.intp]
    t: npt.NDArray[np.intp]
    shared: Integers
    union: Integers


def _overlaps(table: Contingency) -> _Overlaps:
    predicted, predicted_sizes = _sizes(table.prediction, table.voxels)
    true, true_sizes = _sizes(table.truth, table.voxels)
    both = (table.prediction > 0) & (table.truth > 0)
    p = np.searchsorted(predicted, table.prediction[both])
    t = np.searchsorted(true, table.truth[both])
    shared = table.voxels[both]
    return _Overlaps(predicted, predicted_sizes, true_sizes, p, t, shared, predicted_sizes[p] + true_sizes[t] - shared)


def _sizes(labels: Integers, voxels: Integers) -> tuple[Integers, Integers]:
    """Labels above 0, rising, and their voxels in all."""
    order = np.argsort(labels, kind="stable")
    labels, voxels = labels[order], voxels[order]
    inside = labels > 0
    labels, voxels = labels[inside], voxels[inside]
    if len(labels) == 0:
        return labels, voxels
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    return labels[starts], np.add.reduceat(voxels, starts)


def _holding_several(holders: npt.NDArray[np.intp], n: int) -> int:
    """How many of `n` particles occur at least twice among `holders`."""
    return int((np.bincount(holders, minlength=n) >= 2).sum())


def _ratio(part: int, whole: int, nothing: bool) -> float:
    if whole == 0:
        return float(nothing)
    return part / whole


def _d50_error(predicted_sizes: Integers, true_sizes: Integers) -> float | None:
    # The edge of a voxel cancels out.
    found = size_distribution(predicted_sizes, 1.0, "volume")
    wanted = size_distribution(true_sizes, 1.0, "volume")
    if found is None or wanted is None:
        return None
    return found.d50 / wanted.d50 - 1
