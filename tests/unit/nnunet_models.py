"""Model folders as nnU-Net 1 and 2 leave them, with small random networks."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ps3d_core.network.architecture import Architecture

Triple = Sequence[int]

V1_NAME = "nnUNetTrainerV2__nnUNetPlansv2.1"
V2_NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"


class Block(nn.Module):
    """Convolution, norm and non-linearity of nnU-Net 1, under its names."""

    def __init__(self, inputs, outputs, kernel, stride, norm, nonlin, nonlin_first):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, tuple(kernel), tuple(stride), [size // 2 for size in kernel])
        self.instnorm = norm(outputs, affine=True)
        self.lrelu = nonlin()
        self.nonlin_first = nonlin_first

    def forward(self, x):
        x = self.conv(x)
        return self.instnorm(self.lrelu(x)) if self.nonlin_first else self.lrelu(self.instnorm(x))


class Blocks(nn.Module):
    def __init__(self, inputs, outputs, count, kernel, stride, *layers):
        super().__init__()
        steps = [stride] + [(1, 1, 1)] * (count - 1)
        channels = [inputs] + [outputs] * (count - 1)
        self.blocks = nn.Sequential(
            *(Block(c, outputs, kernel, s, *layers) for c, s in zip(channels, steps, strict=True))
        )

    def forward(self, x):
        return self.blocks(x)


class GenericUNet(nn.Module):
    """nnU-Net 1's network: decoders take the kernels of the stage below, the bottleneck is split in two."""

    def __init__(
        self,
        pools: Sequence[Triple] = ((2, 2, 2),) * 2,
        kernels: Sequence[Triple] | None = None,
        *,
        features: int = 4,
        most: int = 320,
        convs: int = 2,
        channels: int = 1,
        classes: int = 3,
        norm: type[nn.Module] = nn.InstanceNorm3d,
        nonlin: Any = nn.LeakyReLU,
        nonlin_first: bool = False,
    ) -> None:
        super().__init__()
        layers = (norm, nonlin, nonlin_first)
        steps = len(pools)
        kernels = kernels or [(3, 3, 3)] * (steps + 1)
        widths = [min(features * 2**stage, most) for stage in range(steps + 1)]
        strides = [(1, 1, 1), *pools]
        inputs = [channels, *widths]
        context: list[nn.Module] = [
            Blocks(inputs[d], widths[d], convs, kernels[d], strides[d], *layers) for d in range(steps)
        ]
        context.append(
            nn.Sequential(
                Blocks(inputs[steps], widths[steps], convs - 1, kernels[steps], strides[steps], *layers),
                Blocks(widths[steps], widths[steps], 1, kernels[steps], (1, 1, 1), *layers),
            )
        )
        self.conv_blocks_context = nn.ModuleList(context)
        self.tu, self.conv_blocks_localization, self.seg_outputs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage in reversed(range(steps)):
            pool, width, kernel = tuple(pools[stage]), widths[stage], kernels[stage + 1]
            self.tu.append(nn.ConvTranspose3d(widths[stage + 1], width, pool, pool, bias=False))
            self.conv_blocks_localization.append(
                nn.Sequential(
                    Blocks(2 * width, width, convs - 1, kernel, (1, 1, 1), *layers),
                    Blocks(width, width, 1, kernel, (1, 1, 1), *layers),
                )
            )
            self.seg_outputs.append(nn.Conv3d(width, classes, 1, bias=False))
        randomise(self)

    def forward(self, x):
        skips = []
        for stage in self.conv_blocks_context[:-1]:
            x = stage(x)
            skips.append(x)
        x = self.conv_blocks_context[-1](x)
        for up, stage, skip in zip(self.tu, self.conv_blocks_localization, reversed(skips), strict=True):
            x = stage(torch.cat((up(x), skip), dim=1))
        return self.seg_outputs[-1](x)


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Norms and biases that matter, as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)


def v1_checkpoint(network: nn.Module, prefix: str = "", epoch: int = 3) -> dict[str, Any]:
    """What a trainer of nnU-Net 1 saves."""
    state = OrderedDict((prefix + name, tensor) for name, tensor in network.state_dict().items())
    return {
        "epoch": epoch,
        "state_dict": state,
        "optimizer_state_dict": torch.optim.SGD(network.parameters(), 0.01).state_dict(),
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([np.float64(-0.5)], [np.float64(-0.4)], [], [np.float32(0.8)]),
        "best_stuff": (None, np.float64(-0.3), 0.7),
        "amp_grad_scaler": {"scale": 65536.0, "_growth_tracker": 3},
    }


def v1_plans(
    pools: Sequence[Triple], kernels: Sequence[Triple], patch: Triple = (16, 16, 16), **more: Any
) -> dict[str, Any]:
    """A plan of nnU-Net 1 with what else is in a real one."""
    stage = {
        "batch_size": 2,
        "num_pool_per_axis": [len(pools)] * 3,
        "patch_size": np.array(patch),
        "median_patient_size_in_voxels": np.array([60, 60, 60]),
        "current_spacing": np.array([0.1, 0.1, 0.1]),
        "do_dummy_2D_data_aug": False,
        "pool_op_kernel_sizes": [list(pool) for pool in pools],
        "conv_kernel_sizes": [list(kernel) for kernel in kernels],
    }
    return {
        "num_stages": 1,
        "num_modalities": 1,
        "modalities": {0: "noNorm"},
        "normalization_schemes": OrderedDict([(0, "noNorm")]),
        "dataset_properties": {
            "all_sizes": [(60, 60, 60)],
            "all_classes": [1, 2],
            "intensityproperties": OrderedDict([(0, {"mean": np.float32(1.5), "percentile_99_5": np.float64(3)})]),
            "size_reductions": OrderedDict([("a", np.float64(1.0))]),
        },
        "original_spacings": [np.array([0.1, 0.1, 0.1])],
        "num_classes": 2,
        "all_classes": [1, 2],
        "base_num_features": 4,
        "use_mask_for_norm": OrderedDict([(0, False)]),
        "keep_only_largest_region": {(1,): False, (1, 2): True},
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "plans_per_stage": {0: stage},
        "conv_per_stage": 2,
        **more,
    }


def v1_folder(
    place: Path,
    networks: Mapping[int | str, nn.Module] | None = None,
    *,
    pools: Sequence[Triple] = ((2, 2, 2),) * 2,
    kernels: Sequence[Triple] | None = None,
    checkpoint: str = "model_best.model",
    plans: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> Path:
    """A trained model of nnU-Net 1 at `place`; returns it."""
    kernels = kernels or [(3, 3, 3)] * (len(pools) + 1)
    for fold, network in (networks or {0: GenericUNet(pools, kernels)}).items():
        folder = place / (f"fold_{fold}" if isinstance(fold, int) else fold)
        folder.mkdir(parents=True)
        torch.save(v1_checkpoint(network, prefix), folder / checkpoint)
    with (place / "plans.pkl").open("wb") as file:
        pickle.dump(plans or v1_plans(pools, kernels), file)
    return place


V2_ARCHITECTURE = Architecture(
    n_stages=3,
    features_per_stage=(4, 8, 12),
    kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    n_conv_per_stage=(2, 2, 2),
    n_conv_per_stage_decoder=(2, 2),
)


def v2_arguments(architecture: Architecture) -> dict[str, Any]:
    """arch_kwargs of a plan."""
    residual = architecture.network == "ResidualEncoderUNet"
    norm = "instancenorm.InstanceNorm3d" if architecture.norm == "instance" else "batchnorm.BatchNorm3d"
    return {
        "n_stages": architecture.n_stages,
        "features_per_stage": list(architecture.features_per_stage),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [list(kernel) for kernel in architecture.kernel_sizes],
        "strides": [list(stride) for stride in architecture.strides],
        "n_blocks_per_stage" if residual else "n_conv_per_stage": list(architecture.n_conv_per_stage),
        "n_conv_per_stage_decoder": list(architecture.n_conv_per_stage_decoder),
        "conv_bias": architecture.conv_bias,
        "norm_op": f"torch.nn.modules.{norm}",
        "norm_op_kwargs": {"eps": architecture.norm_eps, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def v2_plans(architecture: Architecture = V2_ARCHITECTURE, **configuration: Any) -> dict[str, Any]:
    """A plan of nnU-Net 2 with what else is in a real one."""
    return {
        "dataset_name": "Dataset310_Particles",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": {"patch_size": [64, 64], "architecture": {"network_class_name": "x", "arch_kwargs": {}}},
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "batch_size": 2,
                "patch_size": [16, 16, 16],
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{architecture.network}",
                    "arch_kwargs": v2_arguments(architecture),
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                **configuration,
            },
        },
        "foreground_intensity_properties_per_channel": {
            "0": {"max": 60000.0, "mean": 9000.0, "std": 3000.0, "percentile_00_5": 3000.0, "percentile_99_5": 24000.0}
        },
    }


def v2_checkpoint(network: nn.Module, prefix: str = "", configuration: str = "3d_fullres") -> dict[str, Any]:
    """What a trainer of nnU-Net 2 saves."""
    return {
        "network_weights": OrderedDict((prefix + name, tensor) for name, tensor in network.state_dict().items()),
        "optimizer_state": torch.optim.SGD(network.parameters(), 0.01).state_dict(),
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"mean_fg_dice": [np.float64(0.5)], "epoch_start_timestamps": [1.5], "dice_per_class": [[0.5, 0.6]]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {
            "plans": {},
            "configuration": configuration,
            "fold": 0,
            "dataset_json": {},
            "device": torch.device("cuda"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


V2_DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "core": 1, "border": 2},
    "file_ending": ".nii.gz",
}


def v2_network(architecture: Architecture = V2_ARCHITECTURE, seed: int = 0) -> nn.Module:
    network = architecture.build(deep_supervision=True)
    randomise(network, seed)
    return network


def v2_folder(
    place: Path,
    networks: Mapping[int | str, nn.Module] | None = None,
    *,
    plans: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] = V2_DATASET,
    checkpoint: str = "checkpoint_final.pth",
    prefix: str = "",
    **changes: Any,
) -> Path:
    """A trained model of nnU-Net 2 at `place`; returns it. `changes` are of its checkpoints."""
    for fold, network in (networks or {0: v2_network()}).items():
        folder = place / f"fold_{fold}"
        folder.mkdir(parents=True)
        torch.save(v2_checkpoint(network, prefix) | changes, folder / checkpoint)
    (place / "plans.json").write_text(json.dumps(plans or v2_plans()))
    (place / "dataset.json").write_text(json.dumps(dataset))
    return place
