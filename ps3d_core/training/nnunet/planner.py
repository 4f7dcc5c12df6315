"""nnU-Net's planner with some of its choices made by the user: largest patch, batch size, the network or its width.

nnU-Net derives everything from the memory of a GPU and the size of the scans. Where less is wanted, a CPU, say, the
derivation is kept and only its starting points are changed, so that depth, strides and kernels still fit the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ps3d_core.network.architecture import Architecture

Choices = dict[str, Any]


def tailored(planner: type[Any], choices: Choices) -> type[Any]:
    """Return a subclass of nnU-Net's `planner`, of the same name, that keeps to `choices`.

    `choices` may hold "patch" (z, y, x), "batch_size", "features", and "architecture" (an `Architecture` as JSON, whose
    patches are exactly as large as "patch"); what is absent stays nnU-Net's choice.
    """

    class Tailored(planner):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if choices.get("features"):
                self.UNet_base_num_features = choices["features"]

        def get_plans_for_configuration(
            self, spacing: Any, median_shape: Sequence[float], *args: Any, **kwargs: Any
        ) -> Choices:
            # nnU-Net makes no patch larger than the scans: to it, the scans are as large as the patch may be.
            bounds = choices.get("patch") if len(spacing) == 3 else None
            seen = np.minimum(median_shape, bounds) if bounds else median_shape
            plan: Choices = super().get_plans_for_configuration(spacing, seen, *args, **kwargs)
            plan["median_image_size_in_voxels"] = median_shape
            if choices.get("batch_size"):
                plan["batch_size"] = choices["batch_size"]
            if choices.get("architecture") and len(spacing) == 3:
                plan["architecture"] = described(Architecture.model_validate(choices["architecture"]))
                plan["patch_size"] = list(choices["patch"])
            return plan

    Tailored.__name__ = Tailored.__qualname__ = planner.__name__
    return Tailored


def described(architecture: Architecture) -> dict[str, Any]:
    """Return the architecture as nnU-Net's plans have it, with layers by their dotted names."""
    arguments = architecture.arguments
    layers = [name for name, value in arguments.items() if isinstance(value, type)]
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{architecture.network}",
        "arch_kwargs": arguments | {name: f"torch.nn.{arguments[name].__name__}" for name in layers},
        "_kw_requires_import": layers,
    }
