"""The smallest network that tests predict, train and keep with: two stages, computed in no time."""

from __future__ import annotations

from typing import Final

from ps3d_core.network.architecture import Architecture

TINY: Final = Architecture(
    n_stages=2,
    features_per_stage=(4, 8),
    kernel_sizes=((3, 3, 3),) * 2,
    strides=((1, 1, 1), (2, 2, 2)),
    n_conv_per_stage=(1, 1),
    n_conv_per_stage_decoder=(1,),
)
