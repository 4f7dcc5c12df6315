"""nnU-Net 1: any of its networks, as ours, gives the same logits; what cannot be expressed is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ps3d_core.errors import InputError
from ps3d_core.network.bundle import fill
from ps3d_core.network.nnunet.importing import ImportedModel, import_model
from ps3d_core.network.nnunet.v1 import convert
from ps3d_core.network.normalisation import PerScan, ZScore
from ps3d_core.params import ImportParams
from ps3d_core.store.location import Location
from tests.unit.nnunet_models import V1_NAME, GenericUNet, v1_checkpoint, v1_folder, v1_plans

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CPU = torch.device("cpu")
ISOTROPIC = ((2, 2, 2),) * 2
SLOPED = [(1, 3, 3), (1, 3, 3), (3, 3, 3)]


def imported(source: Path, target: Path, **params: Any) -> ImportedModel:
    return import_model(str(source), Location.parse(target), ImportParams(**params))


def logits_differ_by(network: nn.Module, trainer: str) -> float:
    """Largest difference between a Generic_UNet and what it was converted to."""
    architecture, weights = convert(network.state_dict(), trainer, "model")
    ours = architecture.skeleton()
    fill(ours, weights, "model", "")
    edge = 2 * max(architecture.downsampling)
    x = torch.randn(2, 1, edge, edge, edge, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network.eval()(x)
        assert expected.std() > 0.1
        return float((ours.eval()(x) - expected).abs().max())


@pytest.mark.parametrize(
    ("network", "trainer"),
    [
        (lambda: GenericUNet(ISOTROPIC), "nnUNetTrainerV2"),
        (lambda: GenericUNet(((2, 2, 2),)), "someone'sOwnTrainer"),
        (lambda: GenericUNet(((2, 2, 2),) * 4), ""),
        (lambda: GenericUNet(((1, 2, 2), (2, 2, 2)), [(1, 3, 3), (3, 3, 3), (3, 3, 3)]), "nnUNetTrainerV2"),
        (lambda: GenericUNet(((1, 2, 2), (1, 2, 2)), SLOPED), "nnUNetTrainerV2"),
        (lambda: GenericUNet(((2, 1, 2), (2, 2, 1)), [(3, 3, 3), (3, 1, 3), (1, 3, 3)]), "nnUNetTrainerV2"),
        (lambda: GenericUNet(((2, 2, 2),) * 3, most=10), "nnUNetTrainerV2"),
        (lambda: GenericUNet(ISOTROPIC, convs=3), "nnUNetTrainerV2_3ConvPerStage"),
        (lambda: GenericUNet(ISOTROPIC, norm=nn.BatchNorm3d), "nnUNetTrainerV2_BN"),
        (lambda: GenericUNet(ISOTROPIC, nonlin=nn.ReLU), "nnUNetTrainerV2_ReLU"),
        (lambda: GenericUNet(ISOTROPIC, nonlin=nn.GELU), "nnUNetTrainerV2_GeLU"),
        (lambda: GenericUNet(ISOTROPIC, nonlin_first=True), "nnUNetTrainerV2_lReLU_convlReLUIN"),
    ],
    ids=[
        *["usual", "one pooling", "four poolings", "flat patches", "flat kernels", "mixed", "feature cap"],
        *["three convolutions", "batch norm", "ReLU", "GELU", "norm last"],
    ],
)
def test_the_same_logits(network: Any, trainer: str) -> None:
    assert logits_differ_by(network(), trainer) < 1e-4


def test_the_test_sees_a_wrong_non_linearity() -> None:
    assert logits_differ_by(GenericUNet(ISOTROPIC, nonlin=nn.ReLU), "nnUNetTrainerV2") > 1e-3


def test_the_feature_cap_of_320() -> None:
    network = GenericUNet(((2, 2, 2),) * 4, features=30)
    architecture, weights = convert(network.state_dict(), "", "model")
    assert architecture.features_per_stage == (30, 60, 120, 240, 320)
    assert weights["decoder.transpconvs.0.weight"].shape == (320, 240, 2, 2, 2)


def test_a_folder_becomes_a_bundle_with_the_same_logits(tmp_path: Path) -> None:
    networks = {0: GenericUNet(ISOTROPIC), 3: GenericUNet(ISOTROPIC)}
    with torch.no_grad():
        networks[3].seg_outputs[-1].weight.mul_(2)
    source = v1_folder(tmp_path / "Task310_particle_seg" / V1_NAME, networks)
    model = imported(source, tmp_path / "bundle")
    bundle = model.bundle
    assert bundle.folds == (0, 3)
    assert bundle.info.name == f"Task310_particle_seg, {V1_NAME}"
    assert bundle.info.patch_size == (16, 16, 16)
    assert bundle.info.target_particle_size == 60
    assert bundle.info.border_thickness == 3
    assert bundle.info.normalisation == ZScore(mean=5850.29762143569, std=7078.294543817302)
    assert [text.split(" of ")[0] for text in model.assumed[:2]] == ["particles", "borders"]
    assert "grey values" in model.assumed[2]
    assert str(tmp_path) not in bundle.info.model_dump_json()
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        for network, loaded in zip(networks.values(), bundle.networks(CPU), strict=True):
            torch.testing.assert_close(loaded(x), network.eval()(x), rtol=0, atol=1e-4)


def test_what_the_user_says_is_not_assumed(tmp_path: Path) -> None:
    said = {"target_particle_size": 24, "border_thickness": 2, "zscore": (100, 50), "name": "mine"}
    model = imported(v1_folder(tmp_path / V1_NAME), tmp_path / "bundle", **said)
    info = model.bundle.info
    assert not model.assumed
    assert (info.name, info.target_particle_size, info.border_thickness) == ("mine", 24, 2)
    assert info.normalisation == ZScore(mean=100, std=50)


def test_grey_values_per_scan(tmp_path: Path) -> None:
    model = imported(v1_folder(tmp_path / V1_NAME), tmp_path / "bundle", per_scan=True)
    assert model.bundle.info.normalisation == PerScan(method="mean-std", low=None, high=None)


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_found_from_a_folder_above(tmp_path: Path, levels: int) -> None:
    root = tmp_path / "unpacked"
    v1_folder(root.joinpath(*"abc"[:levels]) / V1_NAME)
    assert imported(root, tmp_path / "bundle").bundle.info.name == V1_NAME


def test_among_several_models_that_of_particleseg3d(tmp_path: Path) -> None:
    for trainer in ("nnUNetTrainerV2", "nnUNetTrainerV2_slimDA5_touchV5", "nnUNetTrainerV2_DA5"):
        v1_folder(tmp_path / "Task" / f"{trainer}__nnUNetPlansv2.1")
    model = imported(tmp_path / "Task", tmp_path / "bundle")
    assert "touchV5" in model.bundle.info.name
    others = tmp_path / "others"
    for trainer in ("one", "two"):
        v1_folder(others / f"{trainer}__nnUNetPlansv2.1")
    with pytest.raises(InputError, match=r"2 models, one__nnUNetPlansv2\.1, two"):
        imported(others, tmp_path / "bundle2")


def test_final_weights_where_there_are_no_best(tmp_path: Path) -> None:
    source = v1_folder(tmp_path / V1_NAME, checkpoint="model_final_checkpoint.model")
    assert imported(source, tmp_path / "a").bundle.info.training["checkpoint"] == "final"
    torch.save(v1_checkpoint(GenericUNet(ISOTROPIC)), source / "fold_0" / "model_best.model")
    assert imported(source, tmp_path / "b").bundle.info.training["checkpoint"] == "best"
    assert imported(source, tmp_path / "c", checkpoint="final").bundle.info.training["checkpoint"] == "final"


def test_folds_are_chosen(tmp_path: Path) -> None:
    source = v1_folder(tmp_path / V1_NAME, {0: GenericUNet(), 1: GenericUNet(), 2: GenericUNet()})
    assert imported(source, tmp_path / "a", folds=(2, 1)).bundle.folds == (1, 2)
    with pytest.raises(InputError, match=r"fold 4.*\[0, 1, 2\]"):
        imported(source, tmp_path / "b", folds=(4,))


def test_a_model_trained_on_all_data_is_fold_0(tmp_path: Path) -> None:
    assert imported(v1_folder(tmp_path / V1_NAME, {"all": GenericUNet()}), tmp_path / "b").bundle.folds == (0,)


def test_weights_of_a_wrapped_network(tmp_path: Path) -> None:
    source = v1_folder(tmp_path / V1_NAME, prefix="module.")
    plain = v1_folder(tmp_path / "plain" / V1_NAME)
    assert imported(source, tmp_path / "a").bundle.info.digest == imported(plain, tmp_path / "b").bundle.info.digest


def test_the_plan_beside_the_checkpoint(tmp_path: Path) -> None:
    source = v1_folder(tmp_path / V1_NAME)
    (source / "plans.pkl").unlink()
    with pytest.raises(InputError, match=r"plans\.pkl: no such file.*model_best\.model\.pkl"):
        imported(source, tmp_path / "bundle")
    plans = v1_plans(ISOTROPIC, [(3, 3, 3)] * 3, patch=(24, 24, 24))
    record = {"init": ("plans", 0, "out", "data", True, None, True, False, True), "name": "T", "plans": plans}
    (source / "fold_0" / "model_best.model.pkl").write_bytes(pickle.dumps(record))
    assert imported(source, tmp_path / "bundle").bundle.info.patch_size == (24, 24, 24)


@pytest.mark.parametrize("record", ["debug.json", "model_best.model.pkl", None])
def test_the_stage_that_was_trained_decides_the_patch(tmp_path: Path, record: str | None) -> None:
    plans = v1_plans(ISOTROPIC, [(3, 3, 3)] * 3)
    [stage] = plans["plans_per_stage"].values()
    plans["plans_per_stage"] = {
        0: stage | {"patch_size": [8, 8, 8]},
        1: stage,
        2: stage | {"patch_size": [32, 32, 32], "pool_op_kernel_sizes": [[2, 2, 2]]},
    }
    source = v1_folder(tmp_path / V1_NAME, plans=plans)
    if record == "debug.json":
        (source / "fold_0" / record).write_text(json.dumps({"stage": "0", "base_num_features": "4"}))
    elif record is not None:
        (source / "fold_0" / record).write_bytes(pickle.dumps({"init": ("p", 0, "o", "d", True, 0)}))
    expected = (16, 16, 16) if record is None else (8, 8, 8)
    assert imported(source, tmp_path / "bundle").bundle.info.patch_size == expected


def broken(**changes: torch.Tensor | None) -> dict[str, Any]:
    weights = dict(GenericUNet(ISOTROPIC).state_dict())
    for name, tensor in changes.items():
        if tensor is None:
            del weights[name]
        else:
            weights[name] = tensor
    return weights


@pytest.mark.parametrize(
    ("weights", "trainer", "says"),
    [
        (lambda: GenericUNet(channels=2).state_dict(), "", "takes 2 channels"),
        (lambda: GenericUNet(classes=2).state_dict(), "", "tells 2 classes"),
        (lambda: GenericUNet(((2, 2, 2),), [(5, 5, 5), (5, 5, 5)]).state_dict(), "", "only sizes 1 and 3"),
        (lambda: GenericUNet().state_dict(), "nnUNetTrainerV2_GN", "group normalisation"),
        (lambda: GenericUNet().state_dict(), "nnUNetTrainerV2_Mish", "Mish"),
        (lambda: GenericUNet().state_dict(), "nnUNetTrainerV2_LReLU_slope_2en1", "slope 0.2"),
        (lambda: broken(**{"tu.1.weight": None}), "", "1 transposed convolutions"),
        (lambda: broken(**{"td.0.weight": torch.zeros(1)}), "", "td.0.weight belongs to no Generic_UNet"),
        (lambda: broken(**{"tu.0.weight": torch.zeros(16, 8, 2, 2)}), "", "three-dimensional"),
        (lambda: broken(**{"conv_blocks_context.0.blocks.0.instnorm.weight": None}), "", "without normalisation"),
        (lambda: broken(**{"tu.0.weight": torch.zeros(16, 8, 9, 9, 9)}), "", "strides"),
    ],
)
def test_networks_that_cannot_be_expressed(weights: Any, trainer: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        convert(weights(), trainer, "model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("plans", "says"),
    [
        ({"transpose_forward": [1, 0, 2]}, "transpose_forward"),
        ({"plans_per_stage": {}}, "plans.pkl has no stage"),
        ({"plans_per_stage": None}, "has no plans_per_stage"),
        ({"plans_per_stage": {0: {"patch_size": "large"}}}, "patch_size large"),
        ({"plans_per_stage": {0: {"patch_size": [10, 10, 10]}}}, "no multiple"),
    ],
)
def test_plans_that_cannot_be_used(tmp_path: Path, plans: dict[str, Any], says: str) -> None:
    source = v1_folder(tmp_path / V1_NAME, plans=v1_plans(ISOTROPIC, [(3, 3, 3)] * 3, **plans))
    with pytest.raises(InputError, match=says):
        imported(source, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_folds_of_different_networks(tmp_path: Path) -> None:
    source = v1_folder(tmp_path / V1_NAME, {0: GenericUNet(ISOTROPIC), 1: GenericUNet(ISOTROPIC, features=8)})
    with pytest.raises(InputError, match="not that of the first fold"):
        imported(source, tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == [V1_NAME]


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no model of nnU-Net.*plans\.json"):
        imported(tmp_path / "empty", tmp_path / "bundle")
    with pytest.raises(InputError, match="no such file or folder"):
        imported(tmp_path / "nowhere", tmp_path / "bundle")


def test_what_is_at_the_target_is_safe(tmp_path: Path) -> None:
    source, target = v1_folder(tmp_path / V1_NAME), tmp_path / "bundle"
    target.mkdir()
    first = imported(source, target).bundle.info
    with pytest.raises(InputError, match="replace it with overwrite"):
        imported(source, target)
    place = Location.parse(target)
    assert import_model(str(source), place, ImportParams(name="b"), overwrite=True).bundle.info.name == "b"
    assert sorted(path.name for path in target.iterdir()) == ["bundle.json", "fold_0.safetensors"]
    (source / "plans.pkl").write_bytes(b"broken")
    with pytest.raises(InputError):
        import_model(str(source), place, overwrite=True)
    assert json.loads((target / "bundle.json").read_text())["weights"] == {"0": first.weights[0]}
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    with pytest.raises(InputError, match="did not make"):
        import_model(str(source), Location.parse(tmp_path / "thesis"), overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").exists()
