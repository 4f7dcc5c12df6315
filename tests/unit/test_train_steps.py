"""What a training knows to be done: steps of nnU-Net, images of validation cases, and the bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from ps3d_core.errors import InputError
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import Bundle, ModelFacts, load_bundle, record_training, save_bundle
from ps3d_core.network.normalisation import PerScan
from ps3d_core.params import ExportParams
from ps3d_core.progress import SILENT
from ps3d_core.scan.export import export
from ps3d_core.store.ome import open_image
from ps3d_core.training.nnunet import crossvalidation, run
from ps3d_core.training.nnunet import plan as planning
from ps3d_core.training.nnunet.claim import training_claimed
from ps3d_core.training.nnunet.crossvalidation import CaseImage
from ps3d_core.training.nnunet.plan import TrainPlan, finished_training, plan_training
from ps3d_core.training.nnunet.run import Curve, found_by, prepare, train_fold
from ps3d_core.training.nnunet.workplace import final_checkpoint
from tests.tiny_training import tiny_job
from tests.unit.test_train_plan import data

PLANNED: dict[str, Any] = {
    "kind": "planned",
    "plans_name": "nnUNetPlans",
    "patch": [24, 24, 24],
    "batch_size": 2,
    "features": [4, 8],
    "network": "PlainConvUNet",
    "spacing": [0.1, 0.1, 0.1],
}
EPOCHS = 3


class NnUnet:
    """Stands for the process of nnU-Net: notes what it is asked to do, and writes files as nnU-Net does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.began: list[int] = []
        """Epochs at which folds were gone on with."""
        self.kill_at: int | None = None

    def __call__(
        self, order: dict[str, Any], *, environment: dict[str, str], heard: Callable[..., None], **_: Any
    ) -> None:
        self.asked.append(order["step"])
        preprocessed = Path(environment["nnUNet_preprocessed"]) / order["dataset"]
        if order["step"] == "prepare":
            preprocessed.mkdir(parents=True, exist_ok=True)
            (preprocessed / "c0.b2nd").write_bytes(b"voxels")
            (preprocessed / "splits_final.json").write_text("[]")
            heard(PLANNED)
            return
        model = Path(environment["nnUNet_results"]) / order["dataset"] / f"{order['trainer']}__nnUNetPlans__3d_fullres"
        self.train(model / f"fold_{order['fold']}")

    def train(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("plans.json", "dataset.json"):
            (folder.parent / name).write_text("{}")
        latest, best, final = (folder / f"checkpoint_{name}.pth" for name in ("latest", "best", "final"))
        begun = next((file for file in (final, latest, best) if file.exists()), None)
        first = 0 if begun is None else torch.load(begun, weights_only=True)["epoch"]
        self.began.append(first)
        for epoch in range(first, EPOCHS):
            if epoch == self.kill_at:
                raise KeyboardInterrupt
            for file in (latest, best) if epoch == 0 else (latest,):
                torch.save(checkpoint(epoch + 1), file)
        torch.save(checkpoint(EPOCHS), final)
        latest.unlink(missing_ok=True)


def checkpoint(epochs: int) -> dict[str, Any]:
    times = [float(epoch) for epoch in range(epochs + 1)]
    losses = {name: [float("nan"), 0.5, 0.25][:epochs] for name in ("train_losses", "val_losses", "mean_fg_dice")}
    stamps = {"epoch_start_timestamps": times[:-1], "epoch_end_timestamps": times[1:]}
    return {"epoch": epochs, "weights": torch.zeros(100), "logging": losses | stamps}


@pytest.fixture
def nnunet(monkeypatch: pytest.MonkeyPatch) -> NnUnet:
    nnunet = NnUnet()
    monkeypatch.setattr(run, "run_step", nnunet)
    return nnunet


@pytest.fixture
def plan(tmp_path: Path) -> TrainPlan:
    return plan_training(tiny_job(data(tmp_path), tmp_path / "model", folds=(0, 1)))


def trained_folds(plan: TrainPlan) -> list[Curve]:
    planned = prepare(plan)
    return [train_fold(plan, planned, fold) for fold in plan.folds]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_finished_step_is_not_done_again(nnunet: NnUnet, plan: TrainPlan) -> None:
    curves = trained_folds(plan)
    assert nnunet.asked == ["prepare", "fold", "fold"]
    assert [curve.epochs for curve in curves] == [EPOCHS, EPOCHS]
    assert curves[0].training_seconds == EPOCHS
    nnunet.asked.clear()
    assert str(trained_folds(plan)) == str(curves)  # not a number is not equal to itself
    assert nnunet.asked == []


def test_a_raised_version_redoes_all(nnunet: NnUnet, plan: TrainPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_folds(plan)
    nnunet.asked.clear()
    monkeypatch.setattr(planning, "VERSION", 99)
    trained_folds(plan_training(plan.job))
    assert nnunet.asked == ["prepare", "fold", "fold"]
    assert nnunet.began == [0] * 4


def test_damaged_preprocessed_data_is_made_again_and_no_fold(nnunet: NnUnet, plan: TrainPlan) -> None:
    trained_folds(plan)
    for damage in (flip, Path.unlink):
        nnunet.asked.clear()
        damage(Path(plan.workplace.preprocessed) / plan.folder.full_name / "c0.b2nd")
        trained_folds(plan)
        assert nnunet.asked == ["prepare"]


def test_a_killed_fold_goes_on_at_its_last_epoch(nnunet: NnUnet, plan: TrainPlan) -> None:
    nnunet.kill_at = 2
    with pytest.raises(KeyboardInterrupt):
        trained_folds(plan)
    nnunet.kill_at = None
    nnunet.asked.clear()
    assert [curve.epochs for curve in trained_folds(plan)] == [EPOCHS, EPOCHS]
    assert nnunet.asked == ["fold", "fold"]
    assert nnunet.began == [0, 2, 0]


def test_a_fold_that_ended_before_that_was_entered_is_not_trained_again(nnunet: NnUnet, plan: TrainPlan) -> None:
    nnunet.train(run.fold_folder(plan, prepare(plan), 0))
    assert trained_folds(plan)[0].epochs == EPOCHS
    assert nnunet.began == [0, EPOCHS, 0]


@pytest.mark.parametrize("damage", [flip, lambda file: file.write_bytes(file.read_bytes()[:-9])])
def test_a_damaged_checkpoint_is_kept_and_training_goes_on_before_it(
    nnunet: NnUnet, plan: TrainPlan, damage: Callable[[Path], None]
) -> None:
    planned, curves = prepare(plan), trained_folds(plan)
    final = final_checkpoint(run.fold_folder(plan, planned, 1))
    damage(final)
    damaged = final.read_bytes()
    nnunet.began.clear()
    assert str(trained_folds(plan)) == str(curves)
    assert nnunet.began == [1]  # the best checkpoint is that of the first epoch
    assert final.with_name(f"{final.name}.kept-1").read_bytes() == damaged


def test_the_plan_beside_the_folds_is_written_again(nnunet: NnUnet, plan: TrainPlan) -> None:
    trained_folds(plan)
    plans = run.fold_folder(plan, prepare(plan), 0).parent / "plans.json"
    plans.write_text("{")
    trained_folds(plan)
    assert json.loads(plans.read_text()) == {}
    assert nnunet.began == [0, 0, EPOCHS]


def test_the_image_of_a_case_is_made_once_and_again_when_damaged(
    plan: TrainPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).normal(size=(8, 9, 10)).astype(np.float32)
    export_case(plan, values)
    step = CaseImage(plan, "c0")
    image = step.outputs["image"]
    made: list[str] = []
    real = CaseImage.make

    def make(self: CaseImage, *arguments: Any) -> Any:
        made.append(self.case)
        return real(self, *arguments)

    monkeypatch.setattr(CaseImage, "make", make)
    for damage in (lambda: None, lambda: None, lambda: (image / "zarr.json").write_text("{"), image.remove_tree):
        damage()
        found_by(step, plan, SILENT)
        np.testing.assert_array_equal(open_image(image)[:], values)
    assert len(made) == 3
    monkeypatch.setattr(crossvalidation, "VERSION", 99)
    found_by(step, plan, SILENT)
    assert len(made) == 4


def export_case(plan: TrainPlan, values: np.ndarray[Any, Any]) -> None:
    source = Path(plan.workplace.root).parent / "values.zarr"
    zarr.create_array(source, data=values)
    export(str(source), plan.folder.image("c0"), ExportParams(format="nifti", spacing=0.1))


ARCHITECTURE = Architecture(
    network="PlainConvUNet",
    n_stages=2,
    features_per_stage=(2, 4),
    kernel_sizes=((3, 3, 3),) * 2,
    strides=((1, 1, 1), (2, 2, 2)),
    n_conv_per_stage=(1, 1),
    n_conv_per_stage_decoder=(1,),
)


def published(plan: TrainPlan) -> Bundle:
    """A bundle as this training leaves it."""
    facts = ModelFacts("m", ARCHITECTURE, (16, 16, 16), 12.0, PerScan(), 2.0)
    bundle = save_bundle(plan.job.bundle, {0: ARCHITECTURE.build()}, facts)
    about = {planning.FINGERPRINT: plan.fingerprint, planning.SERIES: plan.workplace.training}
    return record_training(bundle, about)


def test_a_bundle_whose_weights_are_damaged_is_not_finished_and_kept_aside(plan: TrainPlan, tmp_path: Path) -> None:
    bundle = published(plan)
    assert finished_training(plan) == bundle
    flip(tmp_path / "model" / "fold_0.safetensors")
    assert finished_training(plan) is None
    notes: list[str] = []
    with training_claimed(plan_training(plan.job), notes.append):
        assert not (tmp_path / "model").exists()
    assert load_bundle(tmp_path.joinpath("model.kept-1").as_posix()).info == bundle.info
    assert any(re.search(r"not as it was written; kept as .*model\.kept-1", note) for note in notes)


def test_a_damaged_bundle_of_another_training_stays(plan: TrainPlan, tmp_path: Path) -> None:
    published(plan)
    flip(tmp_path / "model" / "fold_0.safetensors")
    other = plan_training(replace(tiny_job(plan.folder.root, tmp_path / "model", epochs=9), overwrite=True))
    with pytest.raises(InputError, match="what ps3d did not make"), training_claimed(other):
        pass
    assert (tmp_path / "model" / "fold_0.safetensors").exists()
