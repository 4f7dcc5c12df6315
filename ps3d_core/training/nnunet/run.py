"""nnU-Net's own steps: prepare its data, train a fold. Each is continued, or found finished, when called again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError
from ps3d_core.network.nnunet.unpickling import read_checkpoint
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.child import Report, run_step
from ps3d_core.training.nnunet.plan import Fold, Planned, TrainPlan, planned_by_nnunet
from ps3d_core.training.nnunet.start import choices
from ps3d_core.training.nnunet.workplace import final_checkpoint
from ps3d_core.training.nnunet_dataset import TrainingFolder

_PARTS: Final = 3  # fingerprint, plan, preprocess
_NOTES: Final = 20  # epochs that are told of in words
_SAME_SPACING: Final = 1e-3


class Curve(BaseModel):
    """Loss of one fold by epoch, as nnU-Net logged it; Dice is its pseudo Dice, on patches."""

    model_config = ConfigDict(frozen=True)

    fold: Fold
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    dice: tuple[float, ...]
    seconds: float

    @property
    def epochs(self) -> int:
        """Number of epochs that the fold was trained."""
        return len(self.train_loss)

    def shown(self, most: int) -> list[int]:
        """Return at most `most` epochs, counted from 0 and evenly spaced, the last one among them."""
        step = max(1, -(-self.epochs // most))
        return list(range(self.epochs - 1, -1, -step)[::-1])


def prepare(plan: TrainPlan, progress: Progress = SILENT) -> Planned:
    """Let nnU-Net look at the data, plan, and preprocess; return what it planned."""
    if (found := planned_by_nnunet(plan)) is not None:
        return found
    place, params = plan.workplace, plan.job.params
    bring(plan.folder, place.dataset, sorted(plan.record.cases))
    planned: list[Planned] = []
    with progress.stage("nnU-Net prepares", _PARTS, "parts") as stage:

        def heard(report: Report) -> None:
            if report["kind"] == "done":
                stage.advance()
            elif report["kind"] == "planned":
                planned.append(Planned.model_validate(report))

        run_step(
            {
                "step": "prepare",
                "dataset": plan.folder.full_name,
                "planner": params.planner,
                "configuration": params.configuration,
                "choices": choices(params, plan.start),
                "workers": plan.preprocessing_workers,
            },
            environment=place.environment(workers=plan.preprocessing_workers, augmenters=1),
            log=place.log("prepare"),
            heard=heard,
        )
    _check_spacing(plan, planned[0])
    place.prepared.write_json(planned[0].model_dump(mode="json"))
    return planned[0]


def train_fold(plan: TrainPlan, planned: Planned, fold: Fold, progress: Progress = SILENT) -> Curve:
    """Train one fold, from its last checkpoint if there is one; return its loss curve."""
    place, params = plan.workplace, plan.job.params
    checkpoint = final_checkpoint(fold_folder(plan, planned, fold))
    if not checkpoint.exists():
        place.results.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            run_step(
                {
                    "step": "fold",
                    "dataset": plan.folder.full_name,
                    "configuration": params.configuration,
                    "fold": fold,
                    "trainer": params.trainer,
                    "plans_name": planned.plans_name,
                    "epochs": params.epochs,
                    "iterations": params.iterations,
                    "learning_rate": params.learning_rate,
                    "border_weight": params.border_weight,
                    "start": plan.start and str(plan.start.location),
                    "seed": params.seed,
                    "device": plan.device,
                    "threads": plan.job.resources.workers if plan.device == "cpu" else 1,
                },
                environment=place.environment(workers=plan.preprocessing_workers, augmenters=plan.augmenters),
                log=place.log(f"fold-{fold}"),
                heard=_FoldListener(fold, progress, stack),
            )
    return _curve(fold, checkpoint)


def fold_folder(plan: TrainPlan, planned: Planned, fold: Fold) -> Path:
    """Return the folder where nnU-Net keeps what belongs to a fold."""
    params = plan.job.params
    return plan.workplace.model(params.trainer, planned.plans_name, params.configuration) / f"fold_{fold}"


def bring(folder: TrainingFolder, target: Path, cases: list[str]) -> None:
    """Make the training data a folder of this machine: a link, or copies from an object store."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if (local := folder.root.local_path) is not None:
        if not target.is_symlink():
            target.symlink_to(local, target_is_directory=True)
        return
    for source in (
        folder.dataset_json,
        *(file for case in cases for file in (folder.image(case), folder.classes(case))),
    ):
        copy = target / source.url.removeprefix(f"{folder.root.url}/")
        if not copy.exists():
            _download(source, copy)


class _FoldListener:
    """Turns the worker's reports into progress events."""

    def __init__(self, fold: Fold, progress: Progress, stack: ExitStack) -> None:
        self._fold, self._progress, self._stack = fold, progress, stack
        self._stage: Stage | None = None
        self._epochs = 0

    def __call__(self, report: Report) -> None:
        match report["kind"]:
            case "begins":
                self._begin(report["epoch"], report["epochs"], report["iterations"])
            case "step" if self._stage is not None:
                self._stage.advance()
            case "epoch":
                self._tell(report)

    def _begin(self, epoch: int, epochs: int, iterations: int) -> None:
        # Only the trainer knows how long it will train.
        self._epochs = epochs
        stage = self._progress.stage(f"train fold {self._fold}", epochs * iterations, "steps", epoch * iterations)
        self._stage = self._stack.enter_context(stage)

    def _tell(self, report: Report) -> None:
        number = report["epoch"] + 1
        if number % max(1, self._epochs // _NOTES) == 0 or number == self._epochs:
            figures = report["train_losses"], report["val_losses"], report["mean_fg_dice"]
            text = "loss {:.3f}, in validation {:.3f}, Dice of patches {:.3f}".format(*figures)
            self._progress.note(f"fold {self._fold}, epoch {number} of {self._epochs}: {text}")


def _curve(fold: Fold, checkpoint: Path) -> Curve:
    logged = read_checkpoint(checkpoint)["logging"]
    started, ended = logged["epoch_start_timestamps"], logged["epoch_end_timestamps"]
    return Curve(
        fold=fold,
        train_loss=tuple(float(value) for value in logged["train_losses"]),
        validation_loss=tuple(float(value) for value in logged["val_losses"]),
        dice=tuple(float(value) for value in logged["mean_fg_dice"]),
        seconds=sum(float(end) - float(start) for start, end in zip(started, ended, strict=True)),
    )


def _check_spacing(plan: TrainPlan, planned: Planned) -> None:
    """nnU-Net must not resample what was resampled to the size of the particles."""
    nominal = plan.record.nominal_spacing
    if any(abs(side / nominal - 1) > _SAME_SPACING for side in planned.spacing):
        raise InputError(
            f"configuration {plan.job.params.configuration}: nnU-Net would resample to {planned.spacing} mm",
            "use 3d_fullres as <configuration>, and prepare the data with a smaller target particle size",
        )


def _download(source: Location, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with source.open_streaming() as remote, partial.open("wb") as file:
        while piece := remote.read(2**24):
            file.write(piece)
    partial.replace(target)
