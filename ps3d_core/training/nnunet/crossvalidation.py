"""How well the packed model finds particles in cases that it was not trained on.

nnU-Net's own Dice counts voxels, and a thin bridge between two particles is hardly a voxel; so each validation case
goes through the project's own segmentation, with the fold that has not seen it, and its particles are matched with the
annotated ones. Both lie on the network grid, in the form in which they were prepared: what is measured is the network
and the step to instances, not the resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from ps3d_core.border_core.labels import border_core_to_instances
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.evaluation.evaluate import evaluate
from ps3d_core.evaluation.metrics import Evaluation
from ps3d_core.network.bundle import Bundle, Fact
from ps3d_core.params import ExportParams, PredictParams, SegmentParams
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.export import export
from ps3d_core.store.layout import Dataset, Result
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.plan import Fold, TrainPlan

Row = dict[str, Fact]

IOU_LEVELS: Final = ("0.50", "0.75")
_AS_PREPARED: Final = (0.0, 1.0)  # the grey values are normalised already
_COUNTS: Final = ("fold", "scan")


def validation_cases(plan: TrainPlan, fold: Fold) -> list[str]:
    """Return the names of the cases that a fold was not trained on; none for a model of all cases."""
    if fold == "all":
        return []
    splits = Location.parse(plan.workplace.preprocessed) / plan.folder.full_name / "splits_final.json"
    return sorted(splits.read_json()[fold]["val"])


def validate_fold(plan: TrainPlan, packed: Bundle, fold: Fold, progress: Progress = SILENT) -> list[Row]:
    """Return one row of figures per validation case of a fold; a second call finds them finished."""
    return [_validate(plan, packed, int(fold), case, progress) for case in validation_cases(plan, fold)]


def mean_row(rows: Sequence[Row]) -> Row:
    """Return the mean over cases of every figure."""
    figures = [key for key in rows[0] if key not in _COUNTS]
    return {"fold": None, "scan": "mean"} | {
        key: round(fmean(float(row[key] or 0) for row in rows), 3) for key in figures
    }


def _validate(plan: TrainPlan, packed: Bundle, fold: int, case: str, progress: Progress) -> Row:
    place, params = plan.workplace.validation, plan.job.params
    dataset = Dataset(place / "cases")
    _bring_image(plan, dataset, case)
    job = SegmentJob(
        dataset,
        case,
        place / "segmented",
        str(packed.location),
        SegmentParams(
            predict=PredictParams(folds=(fold,), mirror=params.mirror, device=params.device, zscore=_AS_PREPARED)
        ),
        plan.job.resources,
    )
    segment(job, progress)
    agreement = evaluate(
        Result(job.output, case).labels,
        _truth(plan, dataset, case),
        runner=Runner.of(plan.job.resources),
        memory_bytes=plan.job.resources.memory_bytes,
        progress=progress,
    )
    return _row(fold, case, agreement)


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


def _bring_image(plan: TrainPlan, dataset: Dataset, case: str) -> None:
    record, image = plan.record, dataset.image(case)
    if not (image / "zarr.json").exists():
        export(
            plan.folder.image(case), image, ExportParams(format="zarr", spacing=record.nominal_spacing, overwrite=True)
        )
    if case not in dataset.read_metadata():
        dataset.add_scan(case, record.nominal_spacing, record.nominal_spacing * record.target_particle_size)


def _truth(plan: TrainPlan, dataset: Dataset, case: str) -> Location:
    """Annotated particles: the prepared ones, or else those that the step to instances makes of perfect classes."""
    truth = dataset.truth(case)
    source = plan.folder.instances(case) if plan.record.instances else plan.folder.classes(case)
    # Named by what they are, so that neither is taken for the other when the data was prepared again.
    copy = truth if plan.record.instances else dataset.root / "classes" / truth.name
    if not (copy / "zarr.json").exists():
        export(source, copy, ExportParams(format="zarr", labels=True, overwrite=True))
    if plan.record.instances:
        return copy
    found = dataset.root / "from_classes" / truth.name
    resources = plan.job.resources
    border_core_to_instances(
        copy / "0",
        found,
        dataset.root / ".work" / case,
        context=Context(Runner.of(resources), resources.memory_bytes),
    )
    return found
