"""How long prediction will take here: some patches, timed as the run will evaluate them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import torch

from ps3d_core.inference.forward import GPU_BATCH, PatchEvaluator
from ps3d_core.network.bundle import Bundle
from ps3d_core.network.computation import Computation
from ps3d_core.network.device import choose_device
from ps3d_core.network.ensemble import Predictor
from ps3d_core.quality import PLAIN, Mirrorings


def seconds_per_patch(
    bundle: Bundle,
    computation: Computation,
    *,
    folds: Sequence[int] | None,
    mirrorings: Mirrorings,
    patches_at_once: int,
) -> float:
    """Return the seconds of the whole machine per patch, mirrorings and folds included, found with patches of noise.

    `patches_at_once` is how many a CPU will evaluate side by side; other devices take batches.
    """
    place = choose_device(computation.device)
    predictor = Predictor(bundle.networks(place, folds), PLAIN, computation=computation, threads=patches_at_once)
    noise = [torch.randn(bundle.info.patch_size) for _ in range(patches_at_once if place.type == "cpu" else GPU_BATCH)]
    with PatchEvaluator(predictor, threads=patches_at_once) as evaluate:
        deque(evaluate(noise), maxlen=0)  # the first pass also chooses algorithms and allocates
        started = time.perf_counter()
        deque(evaluate(noise), maxlen=0)
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        seconds = time.perf_counter() - started
    return seconds / len(noise) * len(mirrorings)
