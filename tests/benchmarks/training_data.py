"""Training data: targets and label resampling against one particle at a time; how they grow; a whole preparation.

    python tests/benchmarks/training_data.py [--side N] [--scan SIDE] [--memory GB] [--stored NPZ ...]

Peers run in the same process on the same volume: per particle, one erosion by a ball of a padded crop (targets), and
one trilinear interpolation of the whole volume (labels). Times are CPU seconds of one thread, kernels compiled before.
More particles in the same voxels are smaller ones, 8 voxels against 32, with more surface at which there is
something to decide; the time they add ends where every voxel lies at a surface.
`--scan` prepares a scan of SIDE cubed, labels and image made here block by block, and says what that cost in time and
memory. `--stored` takes volumes of one's own: `inst`, and with it `border_core` (thickness 3) or `resampled`, with
which the answer is compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from instances import PeakMemory
from scipy import ndimage
from scipy.spatial import cKDTree

from ps3d_core.border_core.vote import vote_labels
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.params import PreparationParams, Resources
from ps3d_core.progress import Progress, StageFinished
from ps3d_core.store.arrays import write_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image
from ps3d_core.training.preparation import prepare_training
from ps3d_core.training.preparation_plan import PreparationJob, plan_preparation
from ps3d_core.training.targets import border_core

THICKNESS = 3
TILE = 128


def pressed(side: int, per_side: int) -> np.ndarray:
    """Touching particles around a jittered lattice, `per_side` cubed of them, with a little background."""
    rng, step = np.random.default_rng(0), side / per_side
    lattice = np.indices((per_side,) * 3).reshape(3, -1).T
    centres = (lattice + 0.5) * step + rng.uniform(-0.15 * step, 0.15 * step, (per_side**3, 3))
    voxels = np.indices((side,) * 3).reshape(3, -1).T
    distance, nearest = cKDTree(centres, boxsize=side).query(voxels % side)
    return np.where(distance < 0.62 * step, nearest + 1, 0).astype(np.uint32).reshape((side,) * 3)


def eroded_one_by_one(labels: np.ndarray, thickness: int) -> np.ndarray:
    """Peer: a padded crop and an erosion by a ball for every particle."""
    offsets = np.indices((2 * thickness + 1,) * 3) - thickness
    ball = (offsets**2).sum(axis=0) <= thickness**2
    classes = np.zeros(labels.shape, np.uint8)
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), 1):
        if box is None:
            continue
        crop = tuple(slice(max(0, s.start - thickness - 3), s.stop + thickness + 3) for s in box)
        particle = labels[crop] == number
        classes[crop][particle] = 2
        classes[crop][ndimage.binary_erosion(particle, ball, border_value=1)] = 1
    return classes


def interpolated_one_by_one(labels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Peer: the whole volume interpolated for every particle, which takes the voxels where it has half the weight."""
    elected = np.zeros(shape, np.uint32)
    for label in np.unique(labels[labels > 0]):
        mask = torch.from_numpy((labels == label).astype(np.float32))[None, None]
        elected[torch.nn.functional.interpolate(mask, shape, mode="trilinear")[0, 0].numpy() >= 0.5] = label
    return elected


def cpu_seconds(work: Callable[[], np.ndarray], repeat: int = 1) -> tuple[float, np.ndarray]:
    """Least CPU time of `repeat` calls, and the answer."""
    least = float("inf")
    for _ in range(repeat):
        start = time.process_time()
        answer = work()
        least = min(least, time.process_time() - start)
    return least, answer


def compare(name: str, labels: np.ndarray, ours: Callable[[], np.ndarray], peer: Callable[[], np.ndarray]) -> None:
    """One line: both times, their ratio and how much of the answers is equal."""
    seconds, answer = cpu_seconds(ours, repeat=5)
    theirs, expected = cpu_seconds(peer)
    print(
        f"{name}, {labels.shape[0]} cubed, {len(np.unique(labels)) - 1} particles: {seconds:.3f} s "
        f"({seconds / answer.size * 1e9:.1f} ns/voxel), one by one {theirs:.2f} s: {theirs / seconds:.1f} times; "
        f"{(answer == expected).mean():.6f} equal"
    )


def against_peers(labels: np.ndarray) -> None:
    """Targets, and labels on a grid of three quarters."""
    shape = tuple(3 * n // 4 for n in labels.shape)
    compare("targets", labels, lambda: border_core(labels, THICKNESS), lambda: eroded_one_by_one(labels, THICKNESS))
    compare(
        "labels",
        labels,
        lambda: vote_labels(labels, shape, ties="higher"),
        lambda: interpolated_one_by_one(labels, shape),
    )


def growth(side: int) -> None:
    """Time per voxel with more voxels, and with more particles in the same voxels."""
    few, many, large = pressed(side, 4), pressed(side, 16), pressed(2 * side, 8)
    for name, work in (
        ("targets", lambda labels: border_core(labels, THICKNESS)),
        ("labels", lambda labels: vote_labels(labels, tuple(3 * n // 4 for n in labels.shape), ties="higher")),
    ):
        per_voxel = [cpu_seconds(lambda w=work, v=v: w(v), repeat=5)[0] / v.size for v in (few, large, many)]
        print(
            f"{name}, time per voxel: {2 * side} cubed / {side} cubed {per_voxel[1] / per_voxel[0]:.2f}; "
            f"4096 particles / 64 particles in {side} cubed {per_voxel[2] / per_voxel[0]:.2f}"
        )


def stored(file: Path) -> None:
    """A volume with the answer of somebody else."""
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    labels = arrays["inst"].astype(np.uint32)
    if "border_core" in arrays:
        seconds, answer = cpu_seconds(lambda: border_core(labels, THICKNESS), repeat=5)
        expected = arrays["border_core"]
    else:
        expected = arrays["resampled"]
        seconds, answer = cpu_seconds(lambda: vote_labels(labels, expected.shape, ties="higher"), repeat=5)
    print(
        f"{file.name}, {len(np.unique(labels)) - 1} particles: {seconds:.3f} s CPU, {(answer != expected).sum()} of "
        f"{answer.size} voxels differ ({(answer == expected).mean():.6f} equal)"
    )


def whole(side: int, memory: float) -> None:
    """A scan of `side` cubed, prepared from start to end at zoom 1.25."""
    tile = pressed(TILE, 5)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(Location.parse(folder) / "data")
        grey = create_image(dataset.image("a"), (side,) * 3, np.uint16, spacing=0.01, name="a")
        ids = create_image(dataset.truth("a"), (side,) * 3, np.uint32, spacing=0.01, name="a")
        rng = np.random.default_rng(1)
        for block in BlockGrid((side,) * 3, (TILE,) * 3):
            labels = tile[Box.of(block.core.shape).slices]
            write_box(ids, block.core, np.where(labels, labels + 125 * block.index, 0).astype(np.uint32))
            write_box(
                grey, block.core, ((labels > 0) * 9000 + rng.normal(20_000, 3000, labels.shape)).astype(np.uint16)
            )
        dataset.add_scan("a", 0.01, 0.256)
        params = PreparationParams(zscore=(24_000, 5000), target_particle_size=32)
        job = PreparationJob(
            dataset, Location.parse(folder) / "out", None, params, Resources(workers=2, memory_gib=memory)
        )
        (case,) = plan_preparation(job).cases
        stages: list[object] = []
        wall, cpu = time.perf_counter(), time.process_time()
        with PeakMemory() as peak:
            record = prepare_training(job, Progress(stages.append))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    voxels = np.prod(case.network_shape)
    print(
        f"preparation, {side} cubed to {case.network_shape[0]} cubed, {record.cases['a'].particles} particles, "
        f"{len(case.blocks)} blocks: {wall:.1f} s, CPU {cpu:.1f} s, {voxels / cpu / 1e6:.1f} Mvoxel per CPU second; "
        f"peak {peak.bytes / 2**30:.2f} GiB, budget {memory:g} GiB, {voxels * 13 / 2**30:.2f} GiB in all arrays"
    )
    print("       " + ", ".join(f"{e.stage} {e.seconds:.1f} s" for e in stages if isinstance(e, StageFinished)))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--scan", type=int, default=256, metavar="SIDE")
    parser.add_argument("--memory", type=float, default=2.0, metavar="GB")
    parser.add_argument("--stored", type=Path, nargs="*", default=[], metavar="NPZ")
    args = parser.parse_args()
    torch.set_num_threads(1)
    small = pressed(16, 2)
    border_core(small, THICKNESS), vote_labels(small, (12, 12, 12), ties="higher")
    against_peers(pressed(args.side, 5))
    growth(args.side)
    for file in args.stored:
        stored(file)
    whole(args.scan, args.memory)


if __name__ == "__main__":
    main()
