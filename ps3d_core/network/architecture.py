"""The network's architecture as data: which nnU-Net, and its sizes, in plain JSON.

A bundle comes from a stranger, so it may choose from a list but never name code: classes are written by name and
looked up in tables here, and every size is bounded. The networks themselves are nnU-Net's own, from
dynamic-network-architectures, so weights of nnU-Net fit without conversion.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

CLASSES: Final = 3  # background, core, border

_NORMS: Final[dict[str, type[nn.Module]]] = {"instance": nn.InstanceNorm3d, "batch": nn.BatchNorm3d}
_NONLINEARITIES: Final[dict[str, type[nn.Module]]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

Channels = Annotated[int, Field(ge=1, le=2048)]
Depth = Annotated[int, Field(ge=1, le=12)]
KernelSize = Annotated[int, Field(ge=1, le=7)]
Step = Annotated[int, Field(ge=1, le=4)]


class Architecture(BaseModel):
    """Sizes of a U-Net, named as in dynamic-network-architectures; stages go from fine to coarse."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["PlainConvUNet", "ResidualEncoderUNet"] = "PlainConvUNet"
    n_stages: Annotated[int, Field(ge=2, le=9)]
    features_per_stage: tuple[Channels, ...]
    kernel_sizes: tuple[tuple[KernelSize, KernelSize, KernelSize], ...]
    strides: tuple[tuple[Step, Step, Step], ...]
    n_conv_per_stage: tuple[Depth, ...]
    """Convolutions per encoder stage; residual blocks per stage for `ResidualEncoderUNet`."""
    n_conv_per_stage_decoder: tuple[Depth, ...]
    """One entry fewer than stages."""
    conv_bias: bool = True
    norm: Literal["instance", "batch"] = "instance"
    norm_eps: Annotated[float, Field(gt=0, le=0.1)] = 1e-5
    nonlinearity: Literal["leaky_relu", "relu", "gelu", "silu"] = "leaky_relu"
    nonlin_first: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Architecture:
        for field in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"):
            if len(getattr(self, field)) != self.n_stages:
                raise ValueError(f"{field} has {len(getattr(self, field))} entries for {self.n_stages} stages")
        if len(self.n_conv_per_stage_decoder) != self.n_stages - 1:
            raise ValueError(f"n_conv_per_stage_decoder needs {self.n_stages - 1} entries")
        if any(size % 2 == 0 for kernel in self.kernel_sizes for size in kernel):
            raise ValueError("kernel_sizes must be odd")
        if self.nonlin_first and self.network != "PlainConvUNet":
            raise ValueError("nonlin_first exists only in PlainConvUNet")
        return self

    @property
    def downsampling(self) -> tuple[int, int, int]:
        """Product of the strides per axis: patch sizes must be multiples of it."""
        total = [1, 1, 1]
        for stride in self.strides:
            total = [t * s for t, s in zip(total, stride, strict=True)]
        z, y, x = total
        return z, y, x

    def build(self, *, deep_supervision: bool = False) -> nn.Module:
        """Return a new network: one input channel, three classes; initialised as nnU-Net does.

        Input (B, 1, z, y, x) float, output (B, 3, z, y, x) logits; a list of them, finest first, with
        `deep_supervision`.
        """
        network = self._construct(deep_supervision)
        network.apply(network.initialize)  # type: ignore[arg-type]
        return network

    def skeleton(self) -> nn.Module:
        """Return the network without memory behind its parameters: names and shapes, ready to take weights."""
        with torch.device("meta"):
            return self._construct(deep_supervision=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments with these sizes for the class of dynamic-network-architectures; layers are classes of torch.nn."""
        shared: dict[str, Any] = {
            "n_stages": self.n_stages,
            "features_per_stage": list(self.features_per_stage),
            "conv_op": nn.Conv3d,
            "kernel_sizes": [list(kernel) for kernel in self.kernel_sizes],
            "strides": [list(stride) for stride in self.strides],
            "n_conv_per_stage_decoder": list(self.n_conv_per_stage_decoder),
            "conv_bias": self.conv_bias,
            "norm_op": _NORMS[self.norm],
            "norm_op_kwargs": {"eps": self.norm_eps, "affine": True},
            "nonlin": _NONLINEARITIES[self.nonlinearity],
            "nonlin_kwargs": {"inplace": True} if self.nonlinearity != "gelu" else {},
        }
        if self.network == "ResidualEncoderUNet":
            return shared | {"n_blocks_per_stage": list(self.n_conv_per_stage)}
        return shared | {"n_conv_per_stage": list(self.n_conv_per_stage), "nonlin_first": self.nonlin_first}

    def _construct(self, deep_supervision: bool) -> nn.Module:
        # Imported here: the package takes a second, and reading a bundle's JSON should not.
        from dynamic_network_architectures.architectures import unet

        network: nn.Module = getattr(unet, self.network)(
            input_channels=1, num_classes=CLASSES, deep_supervision=deep_supervision, **self.arguments
        )
        return network
