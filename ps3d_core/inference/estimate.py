"""How long prediction will take here: one patch, timed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from ps3d_core.network.bundle import Bundle
from ps3d_core.network.device import choose_device
from ps3d_core.network.ensemble import Predictor


def seconds_per_patch(bundle: Bundle, *, device: str, folds: Sequence[int] | None, mirror: bool) -> float:
    """Seconds to evaluate one patch of noise on this machine, mirrorings and folds included."""
    place = choose_device(device)
    predictor = Predictor(bundle.networks(place, folds), mirror=False)
    patch = torch.randn(1, 1, *bundle.info.patch_size)
    predictor(patch)  # the first pass also chooses algorithms and allocates
    started = time.perf_counter()
    predictor(patch)
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    return (time.perf_counter() - started) * (8 if mirror else 1)
