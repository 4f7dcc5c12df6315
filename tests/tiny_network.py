"""The smallest network that tests predict, train and keep with: two stages, computed in no time."""

from __future__ import annotations

from typing import Final

import torch

from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import ModelFacts, save_bundle
from ps3d_core.network.normalisation import PerScan
from ps3d_core.store.location import Location

TINY: Final = Architecture(
    n_stages=2,
    features_per_stage=(4, 8),
    kernel_sizes=((3, 3, 3),) * 2,
    strides=((1, 1, 1), (2, 2, 2)),
    n_conv_per_stage=(1, 1),
    n_conv_per_stage_decoder=(1,),
)


def save_untrained(place: Location, target_particle_size: float) -> None:
    """Write a model that was never trained: it finds particles of any shape, for tests of what becomes of them."""
    torch.manual_seed(3)
    facts = ModelFacts("untrained", TINY, (16, 16, 16), target_particle_size, PerScan(), 1)
    save_bundle(place, {0: TINY.build()}, facts)
