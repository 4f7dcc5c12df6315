"""How well the packed model finds particles in cases that it was not trained on.

nnU-Net's own Dice counts voxels, and a thin bridge between two particles is hardly a voxel; so each validation case
goes through the project's own segmentation, with the fold that has not seen it, and its particles are matched with the
annotated ones. Both lie on the network grid, in the form in which they were prepared: what is measured is the network
and the step to instances, not the resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import numpy as np

from ps3d_core.border_core.labels import border_core_to_instances
from ps3d_core.doubt.calibration import FEWEST, Calibration, fit_calibration
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.evaluation.evaluate import Compared, Right, compare
from ps3d_core.evaluation.metrics import Evaluation
from ps3d_core.network.bundle import Bundle, Fact
from ps3d_core.params import ExportParams, PredictParams, SegmentParams
from ps3d_core.particles.table import read_columns
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.export import ExportSummary, export
from ps3d_core.store.layout import Dataset, Result
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import ZARR_FILES, remove_own
from ps3d_core.training.nnunet.plan import Fold, TrainPlan
from ps3d_core.training.nnunet.run import found_by

VERSION: Final = 1
"""Raise when equal training data would give another image of a case."""

Row = dict[str, Fact]

IOU_LEVELS: Final = ("0.50", "0.75")
_AS_PREPARED: Final = (0.0, 1.0)  # the grey values are normalised already
_COUNTS: Final = ("fold", "scan")


@dataclass(frozen=True)
class CaseImage(Step[ExportSummary]):
    """Step that makes the prepared image of a case the scan of a dataset, to be segmented like any other."""

    plan: TrainPlan
    case: str

    name, title, found = "case-image", "image of a case", ExportSummary

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the image."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Fingerprint of the training, in whose folder the image lies, the case, and the spacing (mm)."""
        return (self.plan.workplace.training, self.case, self.plan.record.nominal_spacing)

    @property
    def outputs(self) -> dict[str, Location]:
        """Image in the dataset of validation cases."""
        return {"image": dataset_of(self.plan).image(self.case)}

    def make(self, done: Outcomes, context: Context) -> ExportSummary:
        """Write the image in place of what a killed call left."""
        image = self.outputs["image"]
        remove_own(image, ZARR_FILES)
        params = ExportParams(format="zarr", spacing=self.plan.record.nominal_spacing)
        return export(self.plan.folder.image(self.case), image, params)


def validation_cases(plan: TrainPlan, fold: Fold) -> list[str]:
    """Return the names of the cases that a fold was not trained on; none for a model of all cases."""
    if fold == "all":
        return []
    splits = plan.workplace.preprocessed_dataset / "splits_final.json"
    return sorted(splits.read_json()[fold]["val"])


def validate_fold(plan: TrainPlan, packed: Bundle, fold: Fold, progress: Progress = SILENT) -> list[Row]:
    """Return one row of figures per validation case of a fold; a second call finds them finished."""
    return [_validate(plan, packed, int(fold), case, progress) for case in validation_cases(plan, fold)]


def dataset_of(plan: TrainPlan) -> Dataset:
    """Return the dataset of validation cases, in the work folder."""
    return Dataset(plan.workplace.validation / "cases")


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the mean over cases of every figure."""
    figures = [key for key in rows[0] if key not in _COUNTS]
    return {"fold": None, "scan": "mean"} | {
        key: round(fmean(float(row[key] or 0) for row in rows), 3) for key in figures
    }


def _validate(plan: TrainPlan, packed: Bundle, fold: int, case: str, progress: Progress) -> Row:
    dataset = dataset_of(plan)
    found_by(CaseImage(plan, case), plan, SILENT)
    if case not in dataset.read_metadata():
        spacing = plan.record.nominal_spacing
        dataset.add_scan(case, spacing, spacing * plan.record.target_particle_size)
    segment(_job(plan, packed, fold, case), progress)
    compared, _ = _compared(plan, case, progress)
    return _row(fold, case, compared.evaluation)


def calibration_of(plan: TrainPlan) -> Calibration | None:
    """Return how often the model is right of which it is so certain, found on the cases that were validated.

    None where they have too few particles.
    """
    cases = [case for fold in plan.folds for case in validation_cases(plan, fold)]
    tables = [_result(plan, case).table_parquet for case in cases]
    certainty = [read_columns(table, ["certainty"])["certainty"].astype(np.float64) for table in tables]
    right = [_compared(plan, case)[1].right for case in cases]
    if sum(map(len, right)) < FEWEST:
        return None
    return fit_calibration(np.concatenate(certainty), np.concatenate(right))


def _job(plan: TrainPlan, packed: Bundle, fold: int, case: str) -> SegmentJob:
    params = plan.job.params
    predict = PredictParams(
        folds=(fold,), quality="reference", mirror=params.mirror, device=params.device, zscore=_AS_PREPARED
    )
    place = _result(plan, case).output
    return SegmentJob(
        dataset_of(plan), case, place, str(packed.location), SegmentParams(predict=predict), plan.job.resources
    )


def _result(plan: TrainPlan, case: str) -> Result:
    return Result(plan.workplace.validation / "segmented", case)


def _compared(plan: TrainPlan, case: str, progress: Progress = SILENT) -> tuple[Compared, Right]:
    """Particles of a case beside the annotated ones; they are compared once."""
    resources, dataset = plan.job.resources, dataset_of(plan)
    return compare(
        _result(plan, case).labels,
        _truth(plan, dataset, case),
        dataset.root / ".work" / f"{case}-compared",
        Context(Runner.of(resources), resources.memory_bytes, progress),
    )


def _row(fold: int, case: str, agreement: Evaluation) -> Row:
    levels = {f"f1_at_{float(level):g}": round(agreement.f1_by_threshold[level], 3) for level in IOU_LEVELS}
    return {
        "fold": fold,
        "scan": case,
        "particles": agreement.true,
        **levels,
        "panoptic_quality": round(agreement.panoptic_quality, 3),
        "splits": agreement.splits,
        "merges": agreement.merges,
    }


def _truth(plan: TrainPlan, dataset: Dataset, case: str) -> Location:
    """Annotated particles: the prepared ones, or else those that the step to instances makes of perfect classes."""
    work, resources = dataset.root / ".work" / case, plan.job.resources
    if plan.record.instances:
        return as_image(plan.folder.instances(case), work)
    found = dataset.root / "from_classes" / dataset.truth(case).name
    border_core_to_instances(
        as_image(plan.folder.classes(case), work) / "0",
        found,
        work,
        context=Context(Runner.of(resources), resources.memory_bytes),
    )
    return found
