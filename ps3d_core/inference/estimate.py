"""How long prediction will take here: some patches, timed as the run will evaluate them.

And how many it will not evaluate, from a look at some of the scan's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import ceil
from statistics import fmean
from typing import Final

import torch

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.inference.aggregate import RollingAccumulator
from ps3d_core.inference.empty import surely_empty
from ps3d_core.inference.forward import GPU_BATCH, PatchEvaluator
from ps3d_core.inference.sample import PaddedView
from ps3d_core.network import openvino
from ps3d_core.network.architecture import CLASSES
from ps3d_core.network.bundle import Bundle
from ps3d_core.network.computation import Computation
from ps3d_core.network.device import choose_device, gpu_count
from ps3d_core.network.ensemble import Predictor
from ps3d_core.quality import PLAIN, Mirrorings
from ps3d_core.region.inside import GridRegion

LOOKED_AT: Final = 64
COUNTED: Final = 1000


@dataclass(frozen=True)
class Pace:
    """How fast a worker evaluates patches while all others do: seconds, mirrorings and folds included.

    Attributes:
        alone: of one patch, when nothing else is evaluated.
        together: of `at_once` patches side by side.
        at_once: patches that a worker evaluates side by side.
        start: of compiling the network, once.

    """

    alone: float
    together: float
    at_once: int = 1
    start: float = 0.0

    def seconds(self, patches: int) -> float:
        """Return the seconds of so many patches, from the first one's begin until the last one is done."""
        full, rest = divmod(patches, self.at_once)
        # Fewer than fit have more of the machine each, but none takes less than one that has it all.
        last = max(self.alone, self.together * rest / self.at_once) if rest else 0.0
        return full * self.together + last


def measured_pace(
    bundle: Bundle,
    computation: Computation,
    *,
    folds: Sequence[int] | None,
    mirrorings: Mirrorings,
    at_once: int,
    workers: int = 1,
) -> Pace:
    """Return the pace of each of `workers`, found with patches of noise on all of the machine.

    `at_once` is how many patches a worker evaluates side by side on a CPU; other devices take batches.
    """
    device = choose_device(computation.device)
    threads = at_once * workers if device.type == "cpu" else 1
    side_by_side = at_once if device.type == "cpu" else GPU_BATCH
    networks = bundle.networks(device, folds)
    predictor = Predictor(networks, PLAIN, computation=computation, threads=threads)
    sharing = workers if device.type == "cpu" else ceil(workers / gpu_count(device.type))
    noise = [torch.randn(bundle.info.patch_size) for _ in range(side_by_side * sharing)]
    with PatchEvaluator(predictor, threads=threads) as evaluate:
        first = _timed(evaluate, noise)  # also chooses algorithms, compiles and allocates
        alone, together = _timed(evaluate, noise[:1]), _timed(evaluate, noise * 2) / 2
    adding = _timed_adding(bundle.info.patch_size, device)
    openvino.release()
    images = len(mirrorings)
    return Pace(
        alone * images + adding, together * images + adding * side_by_side, side_by_side, max(0.0, first - together)
    )


def empty_share(view: PaddedView, patches: int = LOOKED_AT) -> float:
    """Return about which share of the patches of a scan is surely empty, from so many spread evenly over its grid."""
    grid = view.grid
    corners = list(product(*grid.origins))
    some = corners[:: ceil(len(corners) / patches)]
    looked_at = (view.read(Box.of(grid.patch).shift(corner)) for corner in some)
    return fmean(float(surely_empty(torch.from_numpy(values)[None])) for values in looked_at)


def outside_share(grid: PatchGrid, region: GridRegion, patches: int = COUNTED) -> float:
    """Return about which share of the patches lies outside of a region, from so many spread evenly over their grid."""
    corners = list(islice(product(*grid.origins), 0, None, ceil(len(grid) / patches)))
    boxes = (grid.reflection(Box.of(grid.patch).shift(corner))[0] for corner in corners)
    return fmean(region.is_outside(box) for box in boxes)


def _timed(evaluate: PatchEvaluator, patches: Sequence[torch.Tensor]) -> float:
    started = time.perf_counter()
    deque(evaluate([patches]), maxlen=0)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _timed_adding(patch: Shape, device: torch.device) -> float:
    """Seconds in which one answer is added to the sums, which one thread does for all."""
    accumulator = RollingAccumulator(Box.of(patch), torch.ones(patch, device=device), z=0)
    answer = torch.ones((CLASSES, *patch), device=device)
    accumulator.add((0, 0, 0), answer)
    started = time.perf_counter()
    for _ in range(4):
        accumulator.add((0, 0, 0), answer)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / 4
