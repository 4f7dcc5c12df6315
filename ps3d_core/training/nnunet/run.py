"""Steps of nnU-Net: prepare its data, train a fold. Each is done once, in a process of its own.

nnU-Net has a memory of its own, its checkpoints, so a fold that was killed goes on at its last epoch. Whether a step is
done does not depend on that: the ledger in the work folder says so, as long as what was written is as it was.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Found, Outcomes, Step
from ps3d_core.errors import InputError
from ps3d_core.network.nnunet.unpickling import read_checkpoint
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.store.aside import set_aside
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.whole import digest_of
from ps3d_core.training.nnunet import plan as planning
from ps3d_core.training.nnunet.child import Report, run_step
from ps3d_core.training.nnunet.plan import Fold, Planned, TrainPlan
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
    training_seconds: float

    @property
    def epochs(self) -> int:
        """Number of epochs that the fold was trained."""
        return len(self.train_loss)

    def shown(self, most: int) -> list[int]:
        """Return at most `most` epochs, counted from 0 and evenly spaced, the last one among them."""
        step = max(1, -(-self.epochs // most))
        return list(range(self.epochs - 1, -1, -step)[::-1])


@dataclass(frozen=True)
class PrepareData(Step[Planned]):
    """Step in which nnU-Net looks at the data, plans, and preprocesses."""

    plan: TrainPlan

    name, title, found = "prepare", "nnU-Net prepares", Planned

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of a training, all of whose steps it raises."""
        return (planning.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Fingerprint of data and choices."""
        return (self.plan.workplace.plan,)

    @property
    def outputs(self) -> dict[str, Location]:
        """Folder of the plan and the preprocessed data."""
        return {"preprocessed": self.plan.workplace.preprocessed_dataset}

    def make(self, done: Outcomes, context: Context) -> Planned:
        """Bring the data and let nnU-Net do the rest; return what it planned."""
        plan, place = self.plan, self.plan.workplace
        copies = Ledger(Location.parse(place.root), "copies", place.plan)
        bring(plan.folder, place.dataset, sorted(plan.record.cases), copies)
        planned: list[Planned] = []
        with context.progress.stage(self.title, _PARTS, "parts") as stage:

            def heard(report: Report) -> None:
                if report["kind"] == "done":
                    stage.advance()
                elif report["kind"] == "planned":
                    planned.append(Planned.model_validate(report))

            run_step(
                self._order(),
                environment=place.environment(workers=plan.preprocessing_workers, augmenters=1),
                log=place.log("prepare"),
                heard=heard,
            )
        _check_spacing(plan, planned[0])
        return planned[0]

    def _order(self) -> dict[str, Any]:
        params = self.plan.job.params
        return {
            "step": "prepare",
            "dataset": self.plan.folder.full_name,
            "planner": params.planner,
            "configuration": params.configuration,
            "choices": choices(params, self.plan.start),
            "workers": self.plan.preprocessing_workers,
        }


@dataclass(frozen=True)
class TrainFold(Step[Curve]):
    """Step in which nnU-Net trains one fold, from its last checkpoint if there is one."""

    plan: TrainPlan
    planned: Planned
    fold: Fold

    name, title, found = "train-fold", "train fold", Curve

    @property
    def versions(self) -> tuple[int, ...]:
        """No version of its own: that of the training is in its fingerprint."""
        return ()

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Fingerprint of the training, nnU-Net's choices, and which fold it is."""
        return (self.plan.workplace.training, self.planned.model_dump(mode="json"), self.fold)

    @property
    def outputs(self) -> dict[str, Location]:
        """Checkpoint of the last epoch, and what nnU-Net writes beside all folds to tell what they are."""
        folder = fold_folder(self.plan, self.planned, self.fold)
        files = (final_checkpoint(folder), folder.parent / "plans.json", folder.parent / "dataset.json")
        return {file.name: Location.parse(file) for file in files}

    def make(self, done: Outcomes, context: Context) -> Curve:
        """Train the epochs that the last whole checkpoint lacks; return the loss of all of them."""
        plan, place, progress = self.plan, self.plan.workplace, context.progress
        folder = fold_folder(plan, self.planned, self.fold)
        _keep_damaged_checkpoints(folder, progress)
        place.results.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            run_step(
                self._order(),
                environment=place.environment(workers=plan.preprocessing_workers, augmenters=plan.augmenters),
                log=place.log(f"fold-{self.fold}"),
                heard=_FoldListener(self.fold, progress, stack),
            )
        return _curve(self.fold, final_checkpoint(folder))

    def _order(self) -> dict[str, Any]:
        plan, params = self.plan, self.plan.job.params
        return {
            "step": "fold",
            "dataset": plan.folder.full_name,
            "configuration": params.configuration,
            "fold": self.fold,
            "trainer": params.trainer,
            "plans_name": self.planned.plans_name,
            "epochs": params.epochs,
            "iterations": params.iterations,
            "learning_rate": params.learning_rate,
            "border_weight": params.border_weight,
            "start": plan.start and str(plan.start.location),
            "seed": params.seed,
            "device": plan.device,
            "threads": plan.job.resources.workers if plan.device == "cpu" else 1,
        }


def prepare(plan: TrainPlan, progress: Progress = SILENT) -> Planned:
    """Let nnU-Net look at the data, plan, and preprocess; return what it planned."""
    return found_by(PrepareData(plan), plan, progress)


def train_fold(plan: TrainPlan, planned: Planned, fold: Fold, progress: Progress = SILENT) -> Curve:
    """Train one fold, from its last checkpoint if there is one; return its loss curve."""
    return found_by(TrainFold(plan, planned, fold), plan, progress)


def found_by(step: Step[Found], plan: TrainPlan, progress: Progress) -> Found:
    """Return what a step of a training found, now or before: the ledger in the work folder says which is done."""
    return Engine(Location.parse(plan.workplace.root), [step]).run_all(Context(progress=progress)).of(type(step))


def fold_folder(plan: TrainPlan, planned: Planned, fold: Fold) -> Path:
    """Return the folder where nnU-Net keeps what belongs to a fold."""
    params = plan.job.params
    return plan.workplace.model(params.trainer, planned.plans_name, params.configuration) / f"fold_{fold}"


def bring(folder: TrainingFolder, target: Path, cases: list[str], ledger: Ledger) -> None:
    """Make the training data a folder of this machine: a link, or copies from an object store.

    The ledger knows which copies are finished.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if (local := folder.root.local_path) is not None:
        if not target.is_symlink():
            target.symlink_to(local, target_is_directory=True)
        return
    files = [folder.dataset_json, *(file for case in cases for file in (folder.image(case), folder.classes(case)))]
    finished = ledger.finished()
    for index, source in enumerate(files):
        if index not in finished:
            copy = target / source.url.removeprefix(f"{folder.root.url}/")
            _download(source, copy)
            ledger.record(index, {}, {str(copy): digest_of(Location.parse(copy))})


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


def _keep_damaged_checkpoints(folder: Path, progress: Progress) -> None:
    """Set aside what is no whole checkpoint: nnU-Net would go on with it, or fail."""
    for file in sorted(folder.glob("checkpoint_*.pth")):
        if not _is_whole(file):
            progress.note(f"{file}: damaged; kept as {set_aside(Location.parse(file))}")


def _is_whole(checkpoint: Path) -> bool:
    """Whether every part of a checkpoint is what its checksum says: torch writes a ZIP."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except Exception:  # there is no end to how bytes can be wrong
        return False


def _curve(fold: Fold, checkpoint: Path) -> Curve:
    logged = read_checkpoint(checkpoint)["logging"]
    started, ended = logged["epoch_start_timestamps"], logged["epoch_end_timestamps"]
    return Curve(
        fold=fold,
        train_loss=tuple(float(value) for value in logged["train_losses"]),
        validation_loss=tuple(float(value) for value in logged["val_losses"]),
        dice=tuple(float(value) for value in logged["mean_fg_dice"]),
        training_seconds=sum(float(end) - float(start) for start, end in zip(started, ended, strict=True)),
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
