"""nnU-Net 2: its plan becomes our architecture, its weights fit; classes that it names are looked up, not imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from ps3d_core.errors import InputError
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.nnunet.importing import ImportedModel, import_model
from ps3d_core.network.normalisation import PerScan, ZScore
from ps3d_core.params import ImportParams
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.planner import described
from tests.unit.nnunet_models import (
    V2_ARCHITECTURE,
    V2_DATASET,
    V2_NAME,
    v1_folder,
    v2_arguments,
    v2_folder,
    v2_network,
    v2_plans,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CPU = torch.device("cpu")
MEASURED = PerScan(method="mean-std", low=None, high=None)


def imported(source: Path, target: Path, **params: Any) -> ImportedModel:
    return import_model(str(source), Location.parse(target), ImportParams(**params))


def changed(**sizes: Any) -> Architecture:
    return Architecture.model_validate(V2_ARCHITECTURE.model_dump() | sizes)


def assert_same_logits(model: ImportedModel, *networks: Any) -> None:
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        for network, loaded in zip(networks, model.bundle.networks(CPU), strict=True):
            torch.testing.assert_close(loaded(x), network.eval()(x)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"network": "ResidualEncoderUNet", "n_conv_per_stage": (1, 2, 3), "n_conv_per_stage_decoder": (1, 1)},
        {"norm": "batch", "conv_bias": False, "norm_eps": 1e-3},
    ],
    ids=["plain", "residual", "batch norm"],
)
def test_the_same_logits(tmp_path: Path, sizes: dict[str, Any]) -> None:
    architecture = changed(**sizes)
    networks = {0: v2_network(architecture), 1: v2_network(architecture, seed=1)}
    model = imported(v2_folder(tmp_path / V2_NAME, networks, plans=v2_plans(architecture)), tmp_path / "bundle")
    assert model.bundle.info.architecture == architecture
    assert model.bundle.info.patch_size == (16, 16, 16)
    assert model.bundle.info.normalisation == MEASURED
    assert model.bundle.info.training["trainer"] == "nnUNetTrainer"
    assert not model.remarks
    assert len(model.assumed) == 2
    assert_same_logits(model, *networks.values())


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"network": "ResidualEncoderUNet", "n_conv_per_stage": (1, 2, 3), "n_conv_per_stage_decoder": (1, 1)},
        {"norm": "batch", "conv_bias": False, "norm_eps": 1e-3, "nonlinearity": "gelu", "nonlin_first": True},
    ],
    ids=["plain", "residual", "others"],
)
def test_an_architecture_goes_into_a_plan_and_comes_back(tmp_path: Path, sizes: dict[str, Any]) -> None:
    architecture = changed(**sizes)
    plans = v2_plans()
    plans["configurations"]["3d_fullres"]["architecture"] = json.loads(json.dumps(described(architecture)))
    network = architecture.build(deep_supervision=True)
    model = imported(v2_folder(tmp_path / V2_NAME, {0: network}, plans=plans), tmp_path / "bundle")
    assert model.bundle.info.architecture == architecture
    block = plans["configurations"]["3d_fullres"]["architecture"]
    made = get_network_from_plans(
        block["network_class_name"], block["arch_kwargs"], block["_kw_requires_import"], 1, 3, deep_supervision=True
    )
    assert str(made) == str(network)


def test_plans_from_before_architecture_blocks(tmp_path: Path) -> None:
    architecture = changed(features_per_stage=(4, 8, 10))
    plans = v2_plans(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=10,
        n_conv_per_stage_encoder=[2, 2, 2],
        n_conv_per_stage_decoder=[2, 2],
        num_pool_per_axis=[1, 2, 2],
        pool_op_kernel_sizes=[list(stride) for stride in architecture.strides],
        conv_kernel_sizes=[list(kernel) for kernel in architecture.kernel_sizes],
    )
    del plans["configurations"]["3d_fullres"]["architecture"]
    network = v2_network(architecture)
    model = imported(v2_folder(tmp_path / V2_NAME, {0: network}, plans=plans), tmp_path / "bundle")
    assert model.bundle.info.architecture == architecture
    assert_same_logits(model, network)


def test_sizes_that_a_plan_gives_once_for_all_stages(tmp_path: Path) -> None:
    architecture = changed(kernel_sizes=((3, 3, 3),) * 3)
    arguments = v2_arguments(architecture) | {
        "kernel_sizes": 3,
        "strides": [1, [1, 2, 2], 2],
        "n_conv_per_stage": 2,
        "n_conv_per_stage_decoder": 2,
        "nonlin": "torch.nn.modules.activation.LeakyReLU",
        "dropout_op": "torch.nn.modules.dropout.Dropout3d",
        "dropout_op_kwargs": {"p": 0.1},
    }
    plans = v2_plans(architecture)
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] = arguments
    network = v2_network(architecture)
    assert_same_logits(imported(v2_folder(tmp_path / V2_NAME, {0: network}, plans=plans), tmp_path / "b"), network)


def test_a_configuration_inherits(tmp_path: Path) -> None:
    plans = v2_plans()
    plans["configurations"]["small"] = {"inherits_from": "3d_fullres", "patch_size": [8, 8, 8]}
    plans["configurations"]["smaller"] = {"inherits_from": "small", "batch_size": 1}
    source = v2_folder(tmp_path / V2_NAME, plans=plans)
    assert imported(source, tmp_path / "a").bundle.info.patch_size == (16, 16, 16)
    assert imported(source, tmp_path / "b", configuration="smaller").bundle.info.patch_size == (8, 8, 8)
    plans["configurations"]["small"]["inherits_from"] = "smaller"
    source = v2_folder(tmp_path / "other" / V2_NAME, plans=plans)
    with pytest.raises(InputError, match="inherits from itself"):
        imported(source, tmp_path / "c", configuration="smaller")


def test_the_configuration_is_that_of_the_checkpoint_or_of_the_folder(tmp_path: Path) -> None:
    plans = v2_plans()
    plans["configurations"]["3d_lowres"] = plans["configurations"]["3d_fullres"] | {"patch_size": [8, 8, 8]}
    by_folder = v2_folder(tmp_path / "a" / "T__P__3d_lowres", plans=plans, init_args={})
    assert imported(by_folder, tmp_path / "1").bundle.info.patch_size == (8, 8, 8)
    by_checkpoint = v2_folder(tmp_path / "b" / V2_NAME, plans=plans, init_args={"configuration": "3d_lowres"})
    assert imported(by_checkpoint, tmp_path / "2").bundle.info.patch_size == (8, 8, 8)
    with pytest.raises(InputError, match="configuration 4d: not there"):
        imported(by_folder, tmp_path / "3", configuration="4d")


def test_final_weights_before_best(tmp_path: Path) -> None:
    source = v2_folder(tmp_path / V2_NAME, checkpoint="checkpoint_best.pth")
    assert imported(source, tmp_path / "a").bundle.info.training["checkpoint"] == "best"
    with pytest.raises(InputError, match=r"no checkpoint_final\.pth"):
        imported(source, tmp_path / "b", checkpoint="final")


def test_trained_on_all_data(tmp_path: Path) -> None:
    assert imported(v2_folder(tmp_path / V2_NAME, {"all": v2_network()}), tmp_path / "a").bundle.folds == (0,)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_weights_of_a_wrapped_network(tmp_path: Path, prefix: str) -> None:
    network = v2_network()
    assert_same_logits(imported(v2_folder(tmp_path / V2_NAME, {0: network}, prefix=prefix), tmp_path / "a"), network)


def test_trained_without_mirroring_is_said(tmp_path: Path) -> None:
    source = v2_folder(tmp_path / V2_NAME, inference_allowed_mirroring_axes=None)
    assert "without mirroring" in imported(source, tmp_path / "a").remarks[0]


@pytest.mark.parametrize(
    ("schemes", "expected", "doubted"),
    [
        (["ZScoreNormalization"], MEASURED, False),
        (["CTNormalization"], ZScore(mean=9000, std=3000, low=-2, high=5), False),
        (["RGBTo01Normalization"], ZScore(mean=0, std=255), False),
        (["NoNormalization"], MEASURED, True),
        (["RescaleTo01Normalization"], MEASURED, True),
        (None, MEASURED, True),
    ],
)
def test_grey_values_as_planned(tmp_path: Path, schemes: Any, expected: Any, doubted: bool) -> None:
    source = v2_folder(tmp_path / V2_NAME, plans=v2_plans(normalization_schemes=schemes))
    model = imported(source, tmp_path / "a")
    assert model.bundle.info.normalisation == expected
    assert any("grey values" in text for text in model.assumed) == doubted
    assert imported(source, tmp_path / "b", zscore=(1, 2)).bundle.info.normalisation == ZScore(mean=1, std=2)


def test_a_planned_normalisation_without_its_numbers(tmp_path: Path) -> None:
    plans = v2_plans(normalization_schemes=["CTNormalization"])
    plans["foreground_intensity_properties_per_channel"]["0"]["std"] = 0
    source = v2_folder(tmp_path / V2_NAME, plans=plans)
    with pytest.raises(InputError, match="CTNormalization; give mean and standard deviation as zscore"):
        imported(source, tmp_path / "a")
    assert imported(source, tmp_path / "a", zscore=(1, 2)).bundle.folds == (0,)


def with_argument(name: str, value: Any) -> dict[str, Any]:
    plans = v2_plans()
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][name] = value
    return plans


def with_network(name: Any) -> dict[str, Any]:
    return with_block({"network_class_name": name, "arch_kwargs": v2_arguments(V2_ARCHITECTURE)})


def with_block(block: Any) -> dict[str, Any]:
    plans = v2_plans()
    plans["configurations"]["3d_fullres"]["architecture"] = block
    return plans


@pytest.mark.parametrize(
    ("plans", "says"),
    [
        (with_network("os.system"), "network_class_name os.system is not supported"),
        (with_network("evil.PlainConvUNet"), r"network_class_name evil\.PlainConvUNet"),
        (with_network(None), "network_class_name None"),
        (with_argument("nonlin", "os.system"), r"nonlin os\.system is not supported; supported: torch\.nn\.LeakyReLU"),
        (with_argument("nonlin", "evil.LeakyReLU"), r"nonlin evil\.LeakyReLU"),
        (with_argument("nonlin", "torch.nn.modules.activation.Mish"), "Mish"),
        (with_argument("norm_op", "torch.nn.modules.normalization.GroupNorm"), "norm_op"),
        (with_argument("norm_op", None), "norm_op None"),
        (with_argument("conv_op", "torch.nn.modules.conv.Conv2d"), "conv_op"),
        (with_argument("norm_op_kwargs", {"affine": False}), "affine False"),
        (with_argument("nonlin_kwargs", {"negative_slope": 0.2}), "negative_slope"),
        (with_argument("stem_channels", 8), "stem_channels in arch_kwargs"),
        (with_argument("n_stages", 10**9), "n_stages"),
        (with_argument("features_per_stage", [4, 8, 10**6]), "features_per_stage"),
        (with_argument("kernel_sizes", [[3, 3]] * 3), "kernel_sizes"),
        (with_argument("kernel_sizes", None), "kernel_sizes"),
        (v2_plans(changed(features_per_stage=(4, 8, 8))), "do not fit the architecture"),
        (v2_plans(patch_size=[16, 16]), "patch_size"),
        (v2_plans(patch_size=[15, 16, 16]), "no multiple"),
        (with_block({}), "arch_kwargs"),
        (with_block(None), "UNet_class_name None"),
        (v2_plans() | {"transpose_forward": [2, 0, 1]}, "transpose_forward"),
        (v2_plans() | {"configurations": None}, "say it with configuration"),
        ([], "no JSON object"),
    ],
)
def test_plans_that_cannot_be_used(tmp_path: Path, plans: Any, says: str) -> None:
    source = v2_folder(tmp_path / V2_NAME)
    (source / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(InputError, match=says) as error:
        imported(source, tmp_path / "bundle")
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [V2_NAME]


def test_json_that_is_nested_too_deep(tmp_path: Path) -> None:
    source = v2_folder(tmp_path / V2_NAME)
    (source / "plans.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested too deep"):
        imported(source, tmp_path / "bundle")


def test_other_classes_or_channels(tmp_path: Path) -> None:
    labels = V2_DATASET | {"labels": {"background": 0, "border": 1, "core": 2}}
    with pytest.raises(InputError, match="core is label 2, not 1"):
        imported(v2_folder(tmp_path / "a", dataset=labels), tmp_path / "bundle")
    network = v2_network()
    network.decoder.seg_layers[-1] = torch.nn.Conv3d(4, 2, 1)  # type: ignore[union-attr, index]
    with pytest.raises(InputError, match="tells 2 classes"):
        imported(v2_folder(tmp_path / "b", {0: network}), tmp_path / "bundle")


def test_nnunet_1_has_no_configurations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="configuration 3d_fullres"):
        imported(v1_folder(tmp_path / "m"), tmp_path / "bundle", configuration="3d_fullres")
