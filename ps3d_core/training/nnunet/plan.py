"""What a training will do and cost, worked out before anything is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError
from ps3d_core.extras import require
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.memory_model import NNUNET_BYTES, NNUNET_DISK_BYTES
from ps3d_core.network.bundle import INFO_NAME, Bundle, bundle_is_whole, load_bundle
from ps3d_core.network.device import choose_device
from ps3d_core.network.nnunet.importing import check_target
from ps3d_core.params import GIB, Resources, TrainParams
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.start import choices, model_to_start_from
from ps3d_core.training.nnunet.workplace import Workplace
from ps3d_core.training.nnunet_dataset import TrainingFolder
from ps3d_core.training.preparation_record import PreparationRecord, read_preparation

Fold = int | Literal["all"]

VERSION: Final = 1  # raise when equal parameters would train something else
FINGERPRINT: Final = "fingerprint"  # of the bundle, in its training record
SERIES: Final = "training fingerprint"  # the same for all folds of one training
_DATASET: Final = re.compile(r"Dataset(\d{3})_(.+)")
_FOLDS: Final = 5  # nnU-Net's cross-validation
_STEPS: Final = (1000, 250)  # epochs and steps of nnU-Net's default trainer


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Prepared training data to make a bundle of."""

    data: Location
    """DatasetNNN_NAME, or the folder that holds one."""
    bundle: Location
    params: TrainParams = field(default_factory=TrainParams)
    resources: Resources = field(default_factory=Resources)
    work: Location | None = None
    """Folder of this machine for everything of nnU-Net; BUNDLE.training when absent."""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """Checked job of training a model."""

    job: TrainJob
    folder: TrainingFolder
    record: PreparationRecord
    folds: tuple[Fold, ...]
    device: str
    workplace: Workplace
    start: Bundle | None = None
    """The model that the training starts from."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.job.params.name or f"{self.folder.full_name}, {self.job.params.trainer}"

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the bundle."""
        params = self.job.params
        return fingerprint(self.workplace.training, self.folds, params.mirror, params.half_precision, self.name)

    @property
    def preprocessing_workers(self) -> int:
        """Number of cases that are preprocessed at once."""
        at_once = self.job.resources.memory_bytes // (NNUNET_BYTES * max(map(prod, self.record.shapes)))
        return max(1, min(self.job.resources.workers, len(self.record.cases), at_once))

    @property
    def augmenters(self) -> int:
        """Number of helper processes that prepare patches; 0 on a CPU, where the network needs the cores itself."""
        return 0 if self.device == "cpu" else max(1, self.job.resources.workers)

    def describe(self) -> list[str]:
        """Return the plan in lines for a person."""
        params, record = self.job.params, self.record
        voxels = sum(map(prod, record.shapes))
        epochs, iterations = params.epochs or _STEPS[0], params.iterations or _STEPS[1]
        own = {"nnUNetTrainer": ""}.get(params.trainer, ", if the trainer has nnU-Net's usual length")
        own = "" if params.epochs and params.iterations else own
        patch = f", patches of at most {shape_text(params.patch)}" if params.patch else ""
        network = f"planned by {params.planner}{patch}" if self.start is None else "the model that it starts from"
        lines = [
            f"data       {self.folder.full_name}: {len(record.cases)} case(s), {voxels / 1e6:.3g} million voxels, "
            f"mean particle {record.target_particle_size:g} voxels, border {record.border_thickness:g}",
            f"training   fold(s) {' '.join(map(str, self.folds))}, {params.trainer}, {params.configuration} as "
            f"{network}",
            f"cost       {len(self.folds)} x {epochs} epochs x {iterations} steps = "
            f"{len(self.folds) * epochs * iterations} steps on {self.device}{own}; up to "
            f"{voxels * NNUNET_DISK_BYTES / GIB:.1f} GiB on disk, "
            f"{max(map(prod, record.shapes)) * NNUNET_BYTES * self.preprocessing_workers / GIB:.1f} GiB of memory "
            "for preprocessing",
            f"work       {self.workplace.root}",
        ]
        if self.start is not None:
            lines.insert(2, f"start      {self.start.info.name}, {self.start.location}")
        if self.device == "cpu" and len(self.folds) * epochs * iterations > 10_000:
            lines.append(
                "note       on a CPU a step takes seconds to minutes: use a GPU, or fewer epochs and iterations"
            )
        return lines


class Planned(BaseModel):
    """Choices that nnU-Net made: patch, batch size, network and spacing."""

    model_config = ConfigDict(frozen=True)

    plans_name: str
    patch: tuple[int, int, int]
    batch_size: int
    features: tuple[int, ...]
    network: str
    spacing: tuple[float, float, float]

    @property
    def line(self) -> str:
        """Choices that nnU-Net made, in one line for a person."""
        return (
            f"planned    patches of {shape_text(self.patch)}, {self.batch_size} at a time; {self.network} of "
            f"{len(self.features)} stages, {self.features[0]} to {self.features[-1]} features"
        )


def plan_training(job: TrainJob) -> TrainPlan:
    """Check a job and work out what it will do.

    Raise `InputError` for training data, options or places that cannot be used.
    """
    require("nnunetv2")
    folder = _training_folder(job.data)
    record = read_preparation(folder.root)
    params = job.params
    if record.layout != "nnunet-v2":
        raise InputError(
            f"{folder.root}: laid out for nnU-Net 1; prepare it for nnU-Net 2, the default of ps3d prepare-training"
        )
    _check_memory(record, job.resources)
    folds = _folds(params.folds, len(record.cases))
    start = model_to_start_from(params, record)
    plan = fingerprint(
        VERSION, folder.full_name, record.fingerprint, params.planner, params.configuration, choices(params, start)
    )
    schedule = params.epochs, params.iterations, params.learning_rate, params.border_weight
    weights = params.seed, start and start.info.digest
    training = fingerprint(plan, params.trainer, schedule, weights, params.folds == "all")
    planned = TrainPlan(
        job=job,
        folder=folder,
        record=record,
        folds=folds,
        device=choose_device(params.device).type,
        workplace=Workplace(_work_folder(job), folder.full_name, plan, training),
        start=start,
    )
    check_place(planned)
    return planned


def check_place(plan: TrainPlan) -> None:
    """Raise `InputError` when something lies at BUNDLE that is neither this training's nor to be replaced."""
    if not is_of_series(plan):
        check_target(plan.job.bundle, plan.job.overwrite)


def is_of_series(plan: TrainPlan) -> bool:
    """Return whether this training has made the bundle at BUNDLE, of whichever folds, and whole or not."""
    return _recorded(plan.job.bundle, SERIES) == plan.workplace.training


def finished_training(plan: TrainPlan) -> Bundle | None:
    """Return the bundle when this very training has made it and its weights are as they were written, else None."""
    if _recorded(plan.job.bundle, FINGERPRINT) != plan.fingerprint or not bundle_is_whole(plan.job.bundle):
        return None
    return load_bundle(plan.job.bundle)


def _recorded(bundle: Location, key: str) -> object:
    """Return what the training record of a bundle says under `key`, None when there is no bundle or no such entry."""
    return load_bundle(bundle).info.training.get(key) if (bundle / INFO_NAME).exists() else None


def _training_folder(data: Location) -> TrainingFolder:
    """DatasetNNN_NAME, given itself or as the only one in the folder given."""
    if not _DATASET.fullmatch(data.name):
        inside = [name for name in data.children() if _DATASET.fullmatch(name)]
        if not inside:
            raise InputError(f"{data}: no training data there; make it with ps3d prepare-training")
        if len(inside) > 1:
            raise InputError(
                f"{data}: holds {len(inside)} folders named DatasetNNN_NAME; give the one that prepare-training made"
            )
        data = data / inside[0]
    match = _DATASET.fullmatch(data.name)
    assert match is not None  # noqa: S101  (just looked at)
    return TrainingFolder(data.parent, int(match[1]), match[2], "nnunet-v2")


def _folds(asked: tuple[int, ...] | Literal["all"] | None, cases: int) -> tuple[Fold, ...]:
    if asked == "all":
        return ("all",)
    there = tuple(range(min(_FOLDS, cases)))
    if len(there) < 2:
        raise InputError(
            "1 case: nothing to validate on",
            "prepare at least 2 cases",
            "train without validation by giving all as <fold>",
        )
    if asked is None:
        return there
    if wrong := sorted(set(asked) - set(there)):
        raise InputError(f"fold {wrong[0]}: {cases} cases make folds 0 to {there[-1]}; choose among these")
    return asked


def _check_memory(record: PreparationRecord, resources: Resources) -> None:
    name, case = max(record.cases.items(), key=lambda item: prod(item[1].network_shape))
    needed = prod(case.network_shape) * NNUNET_BYTES
    if needed > resources.memory_bytes:
        raise InputError(
            f"case {name} of {shape_text(case.network_shape)} voxels: nnU-Net holds cases whole, about "
            f"{needed / GIB:.1f} GiB for this one, the budget is {resources.memory_gib:.1f}",
            "raise <memory>",
            "prepare a part of the scan",
        )


def _work_folder(job: TrainJob) -> Path:
    place = job.work or job.bundle.parent / f"{job.bundle.name}.training"
    if place.local_path is None:
        raise InputError(f"{place}: nnU-Net works in a folder of this machine", "give one as <work>")
    return place.local_path
