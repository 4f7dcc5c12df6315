"""nnU-Net 2: its networks are those of dynamic-network-architectures, so only the plan has to be translated.

plans.json names classes by their dotted path. Nothing is imported by these names: each is looked up in a table of what
an `Architecture` can express, and what is not there is refused by name. Plans from before 2.3 have no architecture
block but the settings from which it follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from ps3d_core.errors import InputError
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
from ps3d_core.network.nnunet.unpickling import read_checkpoint, state_dict
from ps3d_core.network.normalisation import Normalisation, PerScan, ZScore
from ps3d_core.store.location import Location

_MAX_JSON_BYTES: Final = 64 * 2**20
_LIBRARY: Final = "dynamic_network_architectures.architectures"
_NETWORKS: Final = {
    f"{_LIBRARY}.unet.PlainConvUNet": "PlainConvUNet",
    f"{_LIBRARY}.unet.ResidualEncoderUNet": "ResidualEncoderUNet",
    f"{_LIBRARY}.residual_unet.ResidualEncoderUNet": "ResidualEncoderUNet",
}
_CONVOLUTIONS: Final = {"Conv3d": "Conv3d"}
_NORMS: Final = {"InstanceNorm3d": "instance", "BatchNorm3d": "batch"}
_NONLINEARITIES: Final = {"LeakyReLU": "leaky_relu", "ReLU": "relu", "GELU": "gelu", "SiLU": "silu"}
_MODULES: Final = ("conv", "instancenorm", "batchnorm", "activation", "dropout")

_PER_SCAN: Final = PerScan(method="mean-std", low=None, high=None)
_CLASSES: Final = {"background": 0, "core": 1, "border": 2}


def read_recipe(folder: ModelFolder, checkpoint: Path, configuration: str | None = None) -> Recipe:
    """Return the recipe of the model in a results folder of nnU-Net 2, from its plan and one of its checkpoints.

    Args:
        folder: with plans.json and dataset.json.
        checkpoint: any of its .pth files.
        configuration: name in plans.json; by default the one that the checkpoint or the folder's name says.

    Raises:
        InputError: for files that cannot be used, or a network that cannot be expressed.

    """
    content = read_checkpoint(checkpoint)
    file = folder.path / "plans.json"
    plans = _json(file)
    name = configuration or _configuration_of(folder, content, plans)
    planned = _configuration(plans, name, str(file))
    check_axes(plans, str(file))
    architecture = _architecture(planned, f"{file}: {name}")
    _check_network(state_dict(content, "network_weights", checkpoint), str(checkpoint))
    _check_classes(folder.path / "dataset.json")
    normalisation, doubt = _normalisation(plans, planned)
    unmirrored = content.get("inference_allowed_mirroring_axes", (0, 1, 2)) is None
    return Recipe(
        architecture,
        three(planned.get("patch_size"), f"{file}: patch_size"),
        normalisation,
        doubt,
        str(content.get("trainer_name") or folder.trainer)[:200],
        (UNMIRRORED,) if unmirrored else (),
        {"nnU-Net": "2", "configuration": name[:200]},
    )


def read_weights(checkpoint: Path, architecture: Architecture) -> Weights:
    """Return the weights in a .pth file by the names under which the network's parameters come first.

    The library's modules appear in one another, so its files list most tensors under two or three names.
    """
    weights = state_dict(read_checkpoint(checkpoint), "network_weights", checkpoint)
    skeleton = architecture.skeleton()
    parameters = dict(skeleton.named_parameters()) | dict(skeleton.named_buffers())
    aliases = skeleton.state_dict().keys() - parameters.keys()
    return {name: tensor for name, tensor in weights.items() if name not in aliases}


def _json(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        raise InputError(f"{file}: no such file; put nnU-Net's own there")
    if (size := file.stat().st_size) > _MAX_JSON_BYTES:
        raise InputError(f"{file}: {size} bytes, at most {_MAX_JSON_BYTES} are read; this is no plan of nnU-Net")
    try:
        content = Location.parse(file).read_json()
    except RecursionError as error:
        raise InputError(f"{file}: nested too deep; get a valid copy of the file") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{file}: no JSON object; get a valid copy of the file")
    return content


def _configuration_of(folder: ModelFolder, checkpoint: Mapping[str, Any], plans: Mapping[str, Any]) -> str:
    known = plans.get("configurations")
    names = list(known) if isinstance(known, Mapping) else []
    arguments = checkpoint.get("init_args")
    said = arguments.get("configuration") if isinstance(arguments, Mapping) else None
    named = folder.path.name.rpartition("__")[2]
    for name in (said, named, "3d_fullres"):
        if isinstance(name, str) and name in names:
            return name
    raise InputError(
        f"{folder.path}: nothing says which of {', '.join(map(str, names))[:200]} was trained",
        "say it with <configuration>",
    )


def _configuration(plans: Mapping[str, Any], name: str, what: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    known = plans.get("configurations")
    known = known if isinstance(known, Mapping) else {}
    chain: list[str] = []
    merged: dict[str, Any] = {}
    following: Any = name
    while following is not None:
        if following in chain or not isinstance(following, str) or not isinstance(known.get(following), Mapping):
            problem = "inherits from itself" if following in chain else "not there"
            raise InputError(
                f"{what}: configuration {str(following)[:100]}: {problem}; it has {', '.join(map(str, known))[:200]}",
                "choose another <configuration>",
            )
        chain.append(following)
        merged = {**known[following], **merged}
        following = known[following].get("inherits_from")
    return merged


def _architecture(planned: Mapping[str, Any], what: str) -> Architecture:
    block = planned.get("architecture")
    if block is None:
        return _architecture_before_blocks(planned, what)
    if not isinstance(block, Mapping) or not isinstance(block.get("arch_kwargs"), Mapping):
        raise InputError(f"{what}: its architecture has no arch_kwargs; get a valid copy of the file")
    network = _NETWORKS.get(str(block.get("network_class_name")))
    if network is None:
        raise _unsupported(what, "network_class_name", block.get("network_class_name"), _NETWORKS)
    arguments = dict(block["arch_kwargs"])
    convolutions = arguments.pop("n_blocks_per_stage" if network == "ResidualEncoderUNet" else "n_conv_per_stage", None)
    _named(arguments.pop("conv_op", None), _CONVOLUTIONS, what, "conv_op")
    norm_arguments = _arguments(arguments.pop("norm_op_kwargs", None), ("eps", "affine", "momentum"), what)
    if norm_arguments.get("affine", True) is not True:
        raise _unsupported(what, "affine", norm_arguments["affine"], ("true",))
    slope = _arguments(arguments.pop("nonlin_kwargs", None), ("inplace", "negative_slope"), what)
    if slope.get("negative_slope", 0.01) != 0.01:
        raise _unsupported(what, "negative_slope", slope["negative_slope"], ("0.01",))
    for ignored in ("dropout_op", "dropout_op_kwargs", "deep_supervision"):  # nothing of them is left at inference
        arguments.pop(ignored, None)
    stages = arguments.pop("n_stages", None)
    if not isinstance(stages, int) or not 2 <= stages <= 9:
        raise _unsupported(what, "n_stages", stages, ("2 to 9",))
    sizes = {
        "network": network,
        "n_stages": stages,
        "features_per_stage": _each(arguments.pop("features_per_stage", None), stages),
        "kernel_sizes": _triples(arguments.pop("kernel_sizes", None), stages, f"{what}: kernel_sizes"),
        "strides": _triples(arguments.pop("strides", None), stages, f"{what}: strides"),
        "n_conv_per_stage": _each(convolutions, stages),
        "n_conv_per_stage_decoder": _each(arguments.pop("n_conv_per_stage_decoder", None), stages - 1),
        "conv_bias": arguments.pop("conv_bias", False),
        "norm": _named(arguments.pop("norm_op", None), _NORMS, what, "norm_op"),
        "norm_eps": norm_arguments.get("eps", 1e-5),
        "nonlinearity": _named(arguments.pop("nonlin", None), _NONLINEARITIES, what, "nonlin"),
        "nonlin_first": arguments.pop("nonlin_first", False),
    }
    if others := sorted(str(name) for name, value in arguments.items() if value is not None):
        raise InputError(f"{what}: {others[0][:100]} in arch_kwargs; such a network is not supported")
    return make_architecture(what, **sizes)


def _architecture_before_blocks(planned: Mapping[str, Any], what: str) -> Architecture:
    name = planned.get("UNet_class_name")
    if name not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise _unsupported(what, "UNet_class_name", name, ("PlainConvUNet", "ResidualEncoderUNet"))
    convolutions = planned.get("n_conv_per_stage_encoder")
    first, most = planned.get("UNet_base_num_features"), planned.get("unet_max_num_features")
    if not isinstance(convolutions, list) or not isinstance(first, int) or not isinstance(most, int):
        raise InputError(f"{what}: neither an architecture nor its sizes are in it; get a valid copy of the file")
    stages = len(convolutions)
    return make_architecture(
        what,
        network=name,
        n_stages=stages,
        features_per_stage=tuple(min(first * 2**stage, most) for stage in range(min(stages, 16))),
        kernel_sizes=_triples(planned.get("conv_kernel_sizes"), stages, f"{what}: conv_kernel_sizes"),
        strides=_triples(planned.get("pool_op_kernel_sizes"), stages, f"{what}: pool_op_kernel_sizes"),
        n_conv_per_stage=convolutions,
        n_conv_per_stage_decoder=planned.get("n_conv_per_stage_decoder"),
    )


def _named(value: Any, table: Mapping[str, str], what: str, where: str) -> str:
    """Return the name that an `Architecture` has for the class of PyTorch with this dotted name."""
    module, _, name = str(value).rpartition(".")
    if module != "torch.nn" and module not in [f"torch.nn.modules.{part}" for part in _MODULES]:
        raise _unsupported(what, where, value, [f"torch.nn.{name}" for name in table])
    if name not in table:
        raise _unsupported(what, where, value, [f"torch.nn.{name}" for name in table])
    return table[name]


def _arguments(value: Any, known: tuple[str, ...], what: str) -> Mapping[str, Any]:
    arguments = value if isinstance(value, Mapping) else {}
    if others := [name for name in arguments if name not in known]:
        raise InputError(f"{what}: argument {str(others[0])[:100]} of a layer; such a network is not supported")
    return arguments


def _unsupported(what: str, where: str, value: Any, supported: Any) -> InputError:
    return InputError(f"{what}: {where} {str(value)[:200]} is not supported; supported: {', '.join(supported)}")


def _each(value: Any, stages: int) -> Any:
    return (value,) * stages if isinstance(value, int) else value


def _triples(value: Any, stages: int, what: str) -> tuple[tuple[int, int, int], ...]:
    values = [value] * stages if isinstance(value, int) else value
    if not isinstance(values, list):
        raise InputError(f"{what}: no list of a size for every stage; get a valid copy of the file")
    return tuple(three(size, what) for size in values)


def _check_network(weights: Weights, what: str) -> None:
    """One channel in, three classes out; by the weights, since the dataset may count differently."""
    inputs = [tensor for name, tensor in weights.items() if name.startswith("encoder.") and _is_kernel(tensor)]
    outputs = [tensor for name, tensor in weights.items() if name.startswith("decoder.seg_layers.")]
    if not inputs or not outputs:
        raise InputError(f"{what}: its weights have no encoder and decoder; such a network is not supported")
    check_ends(inputs[0].shape[1], outputs[-1].shape[0], what)


def _is_kernel(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 5


def _check_classes(file: Path) -> None:
    """Labels that have the names of our classes have to have their numbers."""
    if not file.is_file():
        return
    labels = _json(file).get("labels")
    for name, number in _CLASSES.items():
        said = labels.get(name, number) if isinstance(labels, Mapping) else number
        if said != number:
            raise InputError(f"{file}: {name} is label {str(said)[:20]}, not {number}; train on border-core labels")


def _normalisation(plans: Mapping[str, Any], planned: Mapping[str, Any]) -> tuple[Normalisation | None, str]:
    """Return the normalisation that the plan says, or one instead of it, and what is doubtful about that."""
    schemes = planned.get("normalization_schemes")
    scheme = schemes[0] if isinstance(schemes, list) and schemes else "NoNormalization"
    if scheme == "ZScoreNormalization":
        return _PER_SCAN, ""
    if scheme == "RGBTo01Normalization":
        return ZScore(mean=0.0, std=255.0), ""
    if scheme == "CTNormalization":
        fixed = _ct(plans)
        return fixed, "" if fixed else "plans.json has no usable numbers for its CTNormalization"
    unsaid = "does not say how grey values were prepared" if scheme == "NoNormalization" else f"asks for {scheme!s:.60}"
    return _PER_SCAN, f"grey values: mean and standard deviation of each scan, since plans.json {unsaid}"


def _ct(plans: Mapping[str, Any]) -> ZScore | None:
    channels = plans.get("foreground_intensity_properties_per_channel")
    channel = channels.get("0") if isinstance(channels, Mapping) else None
    values = channel if isinstance(channel, Mapping) else {}
    try:
        mean, std = float(values["mean"]), float(values["std"])
        low, high = float(values["percentile_00_5"]), float(values["percentile_99_5"])
        return ZScore(mean=mean, std=std, low=(low - mean) / std, high=(high - mean) / std)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
