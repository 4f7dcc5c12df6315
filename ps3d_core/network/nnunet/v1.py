"""nnU-Net 1: its Generic_UNet as the PlainConvUNet of dynamic-network-architectures, with the same output.

The weights themselves say what the network is, whatever the trainer was called:

    conv_blocks_context.D.blocks.I            encoder stage D, convolution I; the coarsest is split into .D.0 and .D.1
    tu.U                                      transposed convolution; its kernel is the stride between two stages
    conv_blocks_localization.U.{0,1}.blocks.I decoder stage U, from coarse to fine
    seg_outputs.U                             logits of decoder stage U

Two things differ between the classes. The older one has no bias in transposed convolutions and outputs: zeros here.
And its decoder takes its kernel size from the stage below, the newer one from the stage beside: where they differ, the
kernels of that stage grow to the larger size, with zeros around, which changes no output (padding grows alike).

What the weights do not say is what comes between convolutions. That is a leaky ReLU after the norm, except for some
trainers of nnU-Net's own that are known by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn import functional

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.nnunet.folder import ModelFolder
from ps3d_core.network.nnunet.recipe import (
    UNMIRRORED,
    Recipe,
    Weights,
    check_axes,
    check_ends,
    make_architecture,
    three,
)
from ps3d_core.network.nnunet.unpickling import read_checkpoint, read_pickle, state_dict
from ps3d_core.network.normalisation import ZScore
from ps3d_core.store.location import Location

# Defaults of ParticleSeg3D 0.2.16: the z-score of the data that its published model was trained on.
PARTICLESEG3D_ZSCORE: Final = ZScore(mean=5850.29762143569, std=7078.294543817302)

_DOUBT: Final = (
    f"grey values: mean {PARTICLESEG3D_ZSCORE.mean:g} and standard deviation {PARTICLESEG3D_ZSCORE.std:g}, those of "
    "ParticleSeg3D's published model"
)

_CONVOLUTION: Final = re.compile(
    r"(conv_blocks_context|conv_blocks_localization)\.(\d+)\.(?:(\d+)\.)?blocks\.(\d+)\.(conv|instnorm)\.(\w+)"
)
_SINGLE: Final = re.compile(r"(tu|seg_outputs)\.(\d+)\.(weight|bias)")

# Trainers whose networks the weights cannot tell from the usual one; words of the trainer's name.
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "ReLU": {"nonlinearity": "relu"},
    "GeLU": {"nonlinearity": "gelu"},
    "convReLUIN": {"nonlin_first": True},
    "convlReLUIN": {"nonlin_first": True},
}
_UNSUPPORTED: Final = {"GN": "group normalisation", "Mish": "Mish", "2en1": "a leaky ReLU of slope 0.2"}

Convolution = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Parts:
    """The weights by their place: [stage][convolution]{"conv.weight": ...}, [stage]{"weight": ...}."""

    encoder: list[list[Convolution]]
    decoder: list[list[Convolution]]
    upsampling: list[Convolution]
    outputs: list[Convolution]


def read_recipe(folder: ModelFolder, checkpoint: Path) -> Recipe:
    """Return the recipe of the model in a folder of nnU-Net 1, from its plan and one of its checkpoints.

    Raises:
        InputError: for files that cannot be used, or a network that cannot be expressed.

    """
    architecture, _ = convert(read_weights(checkpoint), folder.trainer, str(checkpoint))
    plans, stage = _plan(folder, checkpoint)
    patch_size = _patch_size(plans, stage, architecture, str(folder.path))
    unmirrored = "nomirroring" in folder.trainer.lower()
    return Recipe(
        architecture,
        patch_size,
        PARTICLESEG3D_ZSCORE,
        _DOUBT,
        folder.trainer,
        (UNMIRRORED,) if unmirrored else (),
        {"nnU-Net": "1"},
    )


def read_weights(checkpoint: Path) -> Weights:
    """Return the weights in a .model file under their own names."""
    return state_dict(read_checkpoint(checkpoint), "state_dict", checkpoint)


def convert(weights: Weights, trainer: str, what: str) -> tuple[Architecture, dict[str, torch.Tensor]]:
    """Return architecture and weights of the PlainConvUNet that gives the logits of the Generic_UNet of `weights`.

    Args:
        weights: Generic_UNet's by name.
        trainer: name of the trainer's class; empty when unknown.
        what: what an error is about.

    Raises:
        InputError: for weights of another network.

    """
    parts = _sorted(weights, what)
    stages = len(parts.encoder)
    kernels = [_common_kernel(stage) for stage in parts.encoder]
    for stage, beside in enumerate(reversed(parts.decoder)):
        kernels[stage] = _larger(kernels[stage], _common_kernel(beside))
    if any(size not in (1, 3) for kernel in kernels for size in kernel):
        raise InputError(f"{what}: kernels {kernels}; only sizes 1 and 3 are padded as here; import another model")
    strides = [(1, 1, 1), *(_spatial(up["weight"]) for up in reversed(parts.upsampling))]
    first = parts.encoder[0][0]
    check_ends(first["conv.weight"].shape[1], parts.outputs[-1]["weight"].shape[0], what)
    architecture = make_architecture(
        what,
        n_stages=stages,
        features_per_stage=tuple(stage[-1]["conv.weight"].shape[0] for stage in parts.encoder),
        kernel_sizes=tuple(kernels),
        strides=tuple(strides),
        n_conv_per_stage=tuple(map(len, parts.encoder)),
        n_conv_per_stage_decoder=tuple(map(len, parts.decoder)),
        norm="batch" if "instnorm.running_mean" in first else "instance",
        **_changes_of(trainer, what),
    )
    renamed: dict[str, torch.Tensor] = {}
    for number, stage_parts in enumerate(parts.encoder):
        renamed |= _stage(f"encoder.stages.{number}.0", stage_parts, kernels[number])
    for number, stage_parts in enumerate(parts.decoder):
        renamed |= _stage(f"decoder.stages.{number}", stage_parts, kernels[stages - 2 - number])
    for place, singles in (("transpconvs", parts.upsampling), ("seg_layers", parts.outputs)):
        for number, single in enumerate(singles):
            weight = single["weight"]
            features = weight.shape[1] if place == "transpconvs" else weight.shape[0]
            renamed[f"decoder.{place}.{number}.weight"] = weight
            renamed[f"decoder.{place}.{number}.bias"] = single.get("bias", torch.zeros(features))
    return architecture, renamed


def _sorted(weights: Weights, what: str) -> _Parts:
    convolutions: dict[str, dict[int, dict[tuple[int, int], Convolution]]] = {}
    singles: dict[str, dict[int, Convolution]] = {}
    for name, tensor in weights.items():
        if match := _CONVOLUTION.fullmatch(name):
            side, stage, outer, inner, layer, parameter = match.groups()
            place = convolutions.setdefault(side, {}).setdefault(int(stage), {})
            place.setdefault((int(outer or 0), int(inner)), {})[f"{layer}.{parameter}"] = tensor
        elif match := _SINGLE.fullmatch(name):
            singles.setdefault(match[1], {}).setdefault(int(match[2]), {})[match[3]] = tensor
        else:
            raise InputError(f"{what}: {name[:100]} belongs to no Generic_UNet; such a network is not supported")
    encoder, decoder = (
        [[stage[key] for key in sorted(stage)] for stage in _in_order(convolutions.get(side, {}))]
        for side in ("conv_blocks_context", "conv_blocks_localization")
    )
    parts = _Parts(encoder, decoder, _in_order(singles.get("tu", {})), _in_order(singles.get("seg_outputs", {})))
    _check(parts, what)
    return parts


def _check(parts: _Parts, what: str) -> None:
    """Every part is there, with as many dimensions as needed; sizes are compared when the weights are put in."""
    steps = len(parts.encoder) - 1
    if steps < 1 or [len(parts.decoder), len(parts.upsampling), len(parts.outputs)] != [steps] * 3:
        raise InputError(
            f"{what}: {steps + 1} encoder and {len(parts.decoder)} decoder stages, {len(parts.upsampling)} transposed "
            f"convolutions, {len(parts.outputs)} outputs; such a network is not supported"
        )
    kernels = [conv.get("conv.weight") for stage in (*parts.encoder, *parts.decoder) for conv in stage]
    kernels += [single.get("weight") for single in (*parts.upsampling, *parts.outputs)]
    if any(kernel is None or kernel.ndim != 5 for kernel in kernels):
        raise InputError(f"{what}: not all convolutions are three-dimensional; give a 3d model")
    if any("instnorm.weight" not in conv for stage in (*parts.encoder, *parts.decoder) for conv in stage):
        raise InputError(f"{what}: convolutions without normalisation; such a network is not supported")


def _in_order(numbered: Mapping[int, Any]) -> list[Any]:
    return [numbered[number] for number in sorted(numbered)]


def _stage(prefix: str, convolutions: list[Convolution], kernel: tuple[int, int, int]) -> dict[str, torch.Tensor]:
    renamed = {}
    for number, convolution in enumerate(convolutions):
        for name, tensor in convolution.items():
            layer, _, parameter = name.partition(".")
            new = f"{prefix}.convs.{number}.{'conv' if layer == 'conv' else 'norm'}.{parameter}"
            renamed[new] = _grown(tensor, kernel) if name == "conv.weight" else tensor
        bias = f"{prefix}.convs.{number}.conv.bias"
        renamed.setdefault(bias, torch.zeros(convolution["conv.weight"].shape[0]))
    return renamed


def _grown(weight: torch.Tensor, kernel: tuple[int, int, int]) -> torch.Tensor:
    """Return the weights of an equal convolution with a larger kernel: zeros around the old one."""
    margins = [(new - old) // 2 for new, old in zip(kernel, _spatial(weight), strict=True)]
    return functional.pad(weight, [margin for m in reversed(margins) for margin in (m, m)]) if any(margins) else weight


def _common_kernel(stage: list[Convolution]) -> tuple[int, int, int]:
    kernel = (1, 1, 1)
    for convolution in stage:
        kernel = _larger(kernel, _spatial(convolution["conv.weight"]))
    return kernel


def _larger(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    z, y, x = (max(pair) for pair in zip(a, b, strict=True))
    return z, y, x


def _spatial(weight: torch.Tensor) -> tuple[int, int, int]:
    z, y, x = weight.shape[2:]
    return z, y, x


def _changes_of(trainer: str, what: str) -> dict[str, Any]:
    words = trainer.split("_")
    for word, means in _UNSUPPORTED.items():
        if word in words:
            raise InputError(f"{what}: trainer {trainer} uses {means}; such a network is not supported")
    return {field: value for word in words for field, value in _CHANGES.get(word, {}).items()}


def _plan(folder: ModelFolder, checkpoint: Path) -> tuple[Mapping[str, Any], int | None]:
    """The plan, and which of its stages was trained if a file says so."""
    record, stage = checkpoint.with_name(f"{checkpoint.name}.pkl"), None
    info = read_pickle(record) if record.is_file() else {}
    init = info.get("init") if isinstance(info, Mapping) else None
    if isinstance(init, list) and len(init) > 5 and isinstance(init[5], int):
        stage = init[5]
    elif (said := _debug(checkpoint).get("stage")) is not None and str(said).isdecimal():
        stage = int(said)
    file = folder.path / "plans.pkl"
    plans = read_pickle(file) if file.is_file() else info.get("plans") if isinstance(info, Mapping) else None
    if not isinstance(plans, Mapping) or not isinstance(plans.get("plans_per_stage"), Mapping):
        raise InputError(
            f"{file}: {'has no plans_per_stage' if file.is_file() else 'no such file'}; "
            f"put the model's plan there, or {record.name} beside {checkpoint.name}"
        )
    return plans, stage


def _debug(checkpoint: Path) -> Mapping[str, Any]:
    try:
        content = Location.parse(checkpoint.with_name("debug.json")).read_json()
    except MissingDataError:
        return {}
    return content if isinstance(content, Mapping) else {}


def _patch_size(
    plans: Mapping[str, Any], said: int | None, architecture: Architecture, what: str
) -> tuple[int, int, int]:
    """Return the patch size of the stage that was trained.

    Without a record of it, that is the last stage whose poolings are those of the weights.
    """
    check_axes(plans, what)
    strides = [list(stride) for stride in architecture.strides[1:]]
    stages = {key: stage for key, stage in plans["plans_per_stage"].items() if isinstance(stage, Mapping)}
    fitting = {
        key: stage
        for key, stage in stages.items()
        if isinstance(key, int) and stage.get("pool_op_kernel_sizes", strides) == strides
    }
    if not fitting:
        raise InputError(
            f"{what}: plans.pkl has no stage with the poolings {strides} of the weights; give the right plan"
        )
    chosen = fitting[said if said in fitting else max(fitting)]
    return three(chosen.get("patch_size"), f"{what}: patch_size")
