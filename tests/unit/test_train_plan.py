"""What `ps3d train` checks, plans and refuses before nnU-Net is started."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import PerScan, ZScore
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.child import TrainingFailedError, run_step
from ps3d_core.training.nnunet.crossvalidation import mean_row
from ps3d_core.training.nnunet.plan import plan_training
from ps3d_core.training.nnunet.planner import tailored
from ps3d_core.training.nnunet.run import Curve, bring
from ps3d_core.training.nnunet.start import choices
from ps3d_core.training.nnunet.worker import trainer_class, weigh_border
from ps3d_core.training.nnunet_dataset import TrainingFolder
from ps3d_core.training.preparation_record import CaseRecord, PreparationRecord, write_preparation
from tests.tiny_training import tiny_job


def case(name: str, side: int = 32) -> CaseRecord:
    grid = (side, side, side)
    return CaseRecord(
        scan=name,
        image="i",
        labels="l",
        spacing=0.01,
        particle_size=0.12,
        scan_shape=grid,
        network_shape=grid,
        zoom=1.0,
        intensity=Intensity(0.0, 1.0),
        particles=7,
        image_fingerprint="0" * 32,
        labels_fingerprint="1" * 32,
    )


def data(place: Path, cases: int = 3, side: int = 32, **changes: Any) -> Location:
    """A record of prepared data; the voxels are not looked at by a plan."""
    folder = Location.parse(place / "training" / "Dataset501_Ore")
    fields: dict[str, Any] = {
        "target_particle_size": 12,
        "border_thickness": 2,
        "normalisation": ZScore(mean=0, std=1),
        "nominal_spacing": 0.1,
        "cases": {f"c{i}": case(f"c{i}", side) for i in range(cases)},
    }
    write_preparation(folder, PreparationRecord(**fields | changes))
    return folder


def test_folds_are_as_many_as_cases_up_to_five(tmp_path: Path) -> None:
    for cases, folds in ((2, (0, 1)), (4, (0, 1, 2, 3)), (9, (0, 1, 2, 3, 4))):
        place = data(tmp_path / str(cases), cases)
        assert plan_training(tiny_job(place, tmp_path / "model", folds=None)).folds == folds
        assert plan_training(tiny_job(place, tmp_path / "model", folds="all")).folds == ("all",)
    assert plan_training(tiny_job(data(tmp_path / "1", 1), tmp_path / "model", folds="all")).folds == ("all",)


def test_what_decides_the_weights_decides_the_folder(tmp_path: Path) -> None:
    place = data(tmp_path)

    def folders(**changes: Any) -> tuple[str, str]:
        workplace = plan_training(tiny_job(place, tmp_path / "model", **changes)).workplace
        return workplace.plan, workplace.training

    first = folders()
    assert folders(folds=(0, 1)) == folders(mirror=True, name="other") == first
    assert folders(epochs=9)[0] == first[0]
    assert folders(batch_size=3)[0] != first[0]
    changes: list[dict[str, Any]] = [{"epochs": 9}, {"seed": 1}, {"trainer": "T"}, {"folds": "all"}, {"features": 9}]
    assert len({folders(**change)[1] for change in changes} | {first[1]}) == 6


def test_the_users_own_nnunet_folders_are_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "/mine")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    monkeypatch.setenv("nnUNet_extTrainer", "/trainers")
    environment = plan_training(tiny_job(data(tmp_path), tmp_path / "model")).workplace.environment(
        workers=3, augmenters=0
    )
    assert "/mine" not in environment.values()
    assert "nnUNet_wandb_enabled" not in environment
    assert environment["nnUNet_extTrainer"] == "/trainers"
    assert os.environ["nnUNet_raw"] == "/mine"  # noqa: SIM112  (nnU-Net's own spelling)


@pytest.mark.parametrize(
    ("cases", "changes", "says"),
    [
        (1, {}, "nothing to validate on"),
        (3, {"folds": (3,)}, "fold 3: 3 cases make folds 0 to 2"),
    ],
)
def test_refusals(tmp_path: Path, cases: int, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan_training(tiny_job(data(tmp_path, cases), tmp_path / "model", **changes))


def test_cases_that_nnunet_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"case c0 of 600 x 600 x 600 voxels: .*raise memory"):
        plan_training(tiny_job(data(tmp_path, side=600), tmp_path / "model"))


def test_data_for_nnunet_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="laid out for nnU-Net 1"):
        plan_training(tiny_job(data(tmp_path, layout="nnunet-v1"), tmp_path / "model"))


def test_something_else_at_the_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        plan_training(tiny_job(data(tmp_path), tmp_path / "model"))


def test_a_bundle_on_an_object_store_needs_a_folder_to_work_in(tmp_path: Path) -> None:
    job = replace(tiny_job(data(tmp_path), tmp_path / "model"), bundle=Location.parse("memory://models/ore"))
    with pytest.raises(InputError, match="give one as work"):
        plan_training(job)
    assert plan_training(replace(job, work=Location.parse(tmp_path / "w"))).workplace.root == tmp_path / "w"


def test_data_on_an_object_store_is_copied_once(tmp_path: Path) -> None:
    folder = TrainingFolder(Location.parse("memory://training"), 501, "Ore", "nnunet-v2")
    files = {"dataset.json": b"{}", "imagesTr/c0_0000.nii.gz": b"grey", "labelsTr/c0.nii.gz": b"classes"}
    for name, content in files.items():
        (folder.root / name).write_bytes(content)
    ledger = Ledger(Location.parse(tmp_path), "copies", "f")
    for damage in (lambda: None, lambda: (tmp_path / "raw" / "labelsTr" / "c0.nii.gz").write_bytes(b"class")):
        damage()
        bring(folder, tmp_path / "raw", ["c0"], ledger)
        copies = {str(path.relative_to(tmp_path / "raw")): path for path in (tmp_path / "raw").rglob("*.*")}
        assert {name: path.read_bytes() for name, path in copies.items()} == files
        (folder.root / "dataset.json").remove_tree()  # not read again


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--patch", "4"], "--patch 4: must be a whole number from 8"),
        (["--patch", "32", "32"], "give one side for all axes"),
        (["--fold", "all", "1"], "either numbers or all"),
        (["--trainer", "os.system"], "--trainer 'os.system': must be the name of a class"),
        (["--learning-rate", "0"], "--learning-rate 0: must be above 0"),
        (["--border-weight", "0"], "--border-weight 0: must be above 0"),
        (["--start-from", "nowhere"], "nowhere: nothing there"),
        (["--configuration", "2d"], "--configuration '2d': must be a 3-D configuration"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(data(tmp_path)), str(tmp_path / "model"), "--direct", *flags]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["training"]


def test_the_folder_above_the_data_will_do(tmp_path: Path) -> None:
    place = data(tmp_path)
    assert plan_training(tiny_job(place.parent, tmp_path / "model")).folder.root == place
    with pytest.raises(InputError, match="no training data there"):
        plan_training(tiny_job(Location.parse(tmp_path), tmp_path / "model"))


def test_a_failing_step_says_its_last_line_and_leaves_a_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "step.log"
    with pytest.raises(TrainingFailedError, match=r"status 1: KeyError: 'nothing'; all it printed is in .*step\.log"):
        run_step({"step": "nothing"}, environment=os.environ, log=log, heard=lambda report: None)
    assert "Traceback" in log.read_text()


def curve(train_loss: tuple[float, ...]) -> Curve:
    return Curve(fold=0, train_loss=train_loss, validation_loss=train_loss, dice=train_loss, training_seconds=1)


def test_curves_are_thinned_and_keep_their_end() -> None:
    shown = curve((0.5,) * 1000).shown(100)
    assert len(shown) == 100
    assert shown[-1] == 999
    assert curve((1, 2)).shown(100) == [0, 1]


STARTED: dict[str, Any] = {"start_from": "bundled", "patch": None, "features": None}
LIKE_BUNDLED: dict[str, Any] = {"target_particle_size": 20, "border_thickness": 2, "normalisation": PerScan()}


def test_a_training_starts_with_the_network_of_a_model(tmp_path: Path) -> None:
    place, bundled = data(tmp_path, **LIKE_BUNDLED), load_bundle().info
    plan = plan_training(tiny_job(place, tmp_path / "model", **STARTED))
    assert plan.start is not None
    assert any(bundled.name in line for line in plan.describe())
    network = {"architecture": bundled.architecture.model_dump(mode="json"), "batch_size": 2}
    assert choices(plan.job.params, plan.start) == network | {"patch": bundled.patch_size}
    smaller = plan_training(tiny_job(place, tmp_path / "model", **STARTED | {"patch": (48, 48, 32)}))
    assert choices(smaller.job.params, smaller.start) == network | {"patch": (48, 48, 32)}
    fresh = plan_training(tiny_job(place, tmp_path / "model"))
    assert len({each.workplace.training for each in (plan, smaller, fresh)}) == 3


@pytest.mark.parametrize(
    ("prepared", "asked", "says"),
    [
        ({"target_particle_size": 60}, {}, "its particles have 20 voxels, the data's 60; prepare"),
        (
            {"border_thickness": 3},
            {},
            "borders have 2 voxels, the data's 3; .*a target particle size of 20, a border thick",
        ),
        (
            {"normalisation": ZScore(mean=0, std=1)},
            {},
            "another way; .* a border thickness of 2 and grey values measured on each scan$",
        ),
        ({}, {"features": 8}, "features 8: the network is that of the model to start from"),
        ({}, {"patch": (64, 64, 40)}, "patch 64 x 64 x 40: .* multiples of 16 x 16 x 16"),
    ],
)
def test_models_that_the_data_was_not_prepared_for(
    tmp_path: Path, prepared: dict[str, Any], asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        plan_training(tiny_job(data(tmp_path, **LIKE_BUNDLED | prepared), tmp_path / "model", **STARTED | asked))


def test_border_voxels_weigh_more_wherever_the_cross_entropy_is() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loss = nn.ModuleList([nn.CrossEntropyLoss(), nn.MSELoss()])

    trainer = SimpleNamespace(loss=Wrapped(), device=torch.device("cpu"))
    weigh_border(trainer, 3.0)
    logits, classes = torch.tensor([[[0.0, 0.0], [0.0, 9.0], [0.0, 0.0]]]), torch.tensor([[2, 1]])
    certain = float(torch.log(1 + 2 * torch.exp(torch.tensor(-9.0))))
    assert float(trainer.loss.loss[0](logits, classes)) == pytest.approx((3 * np.log(3) + certain) / 4, rel=1e-5)
    with pytest.raises(InputError, match="loss of SimpleNamespace has no cross-entropy"):
        weigh_border(SimpleNamespace(loss=nn.MSELoss(), device=torch.device("cpu")), 3.0)


def test_trainers_are_found_without_importing_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n\nclass Mine(nnUNetTrainer): ..."
    (tmp_path / "mine.py").write_text(own)
    monkeypatch.setenv("nnUNet_extTrainer", f"{tmp_path / 'nowhere'}{os.pathsep}{tmp_path}")
    monkeypatch.setitem(sys.modules, "timm", None)  # of no use to these
    for name in ("nnUNetTrainer", "nnUNetTrainerDA5", "nnUNetTrainerNoDeepSupervision", "Mine"):
        assert trainer_class(name).__name__ == name
    with pytest.raises(InputError, match="trainer Unknown: nnU-Net has no such class"):
        trainer_class("Unknown")


def test_mean_of_rows() -> None:
    rows = [{"fold": i, "scan": str(i), "particles": 10 * i, "f1_at_0.5": 0.25 * i} for i in (1, 2)]
    assert mean_row(rows) == {"fold": None, "scan": "mean", "particles": 15, "f1_at_0.5": 0.375}


def test_choices_enter_the_plan_of_3d_configurations() -> None:
    class Planner:
        UNet_base_num_features = 32

        def get_plans_for_configuration(self, spacing: Any, shape: Any) -> dict[str, Any]:
            return {"patch_size": list(shape), "batch_size": 2, "features": self.UNet_base_num_features}

    planner = tailored(Planner, {"patch": (8, 99, 16), "batch_size": 5, "features": 4})()
    assert type(planner).__name__ == "Planner"
    plan = planner.get_plans_for_configuration(np.ones(3), np.array([50, 60, 70]))
    assert (plan["patch_size"], plan["batch_size"], plan["features"]) == ([8, 60, 16], 5, 4)
    assert list(plan["median_image_size_in_voxels"]) == [50, 60, 70]
    assert planner.get_plans_for_configuration(np.ones(2), [60, 70])["patch_size"] == [60, 70]
    untouched = tailored(Planner, {})().get_plans_for_configuration(np.ones(3), [50, 60, 70])
    assert json.dumps(untouched["patch_size"]) == "[50, 60, 70]"
