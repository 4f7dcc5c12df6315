"""Border-core labels to particles: time per voxel and peak memory, and how both change with the volume.

    python tests/benchmarks/instances.py [SIDE ...] [--pattern pressed|grains] [--border-core NPZ]
                                         [--workers N] [--runner threads|processes] [--memory GB]

The volumes are made here, block by block. "pressed": touching particles, 125 in 128 cubed, nearly all in one component,
which is the hard case; 1024 cubed has 64,000 of them. "grains": cubes of 5 voxels, for the tables that hold one number
per core; 1080 cubed has ten million of them. A volume of one's own comes from `bc` in an NPZ file. Times include
reading and writing Zarr on a local folder.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from scipy.spatial import cKDTree

from ps3d_core.border_core.labels import run_instances
from ps3d_core.border_core.plan import plan_instances
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.progress import Progress, StageFinished
from ps3d_core.store.arrays import create_array, write_box
from ps3d_core.store.location import Location

TILE = 128
SPACING = TILE / 5
GRAIN = 5

Pattern = Callable[[Box], np.ndarray]
"""Border-core labels of any box of an endless volume."""


def pressed() -> Pattern:
    """Balls around a jittered lattice, pressed together; a tile of them repeats."""
    rng = np.random.default_rng(0)
    lattice = np.indices((5, 5, 5)).reshape(3, -1).T
    centres = ((lattice + 0.5) * SPACING + rng.uniform(-4, 4, (125, 3))) % TILE
    voxels = np.indices((TILE,) * 3).reshape(3, -1).T
    nearest, second = cKDTree(centres, boxsize=TILE).query(voxels, k=2)[0].T
    border = (second - nearest < 4) | (nearest > 12)
    classes = np.where(nearest > 14, 0, np.where(border, 2, 1))
    tile = classes.astype(np.uint8).reshape((TILE,) * 3)
    return lambda box: tile[np.ix_(*(np.arange(a, b) % TILE for a, b in zip(box.start, box.stop, strict=True)))]


def grains() -> Pattern:
    """Cubes with cores of 4 voxels; one voxel of border keeps them apart."""

    def classes(box: Box) -> np.ndarray:
        z, y, x = (np.arange(a, b) % GRAIN < GRAIN - 1 for a, b in zip(box.start, box.stop, strict=True))
        return np.where(z[:, None, None] & y[:, None] & x, 1, 2).astype(np.uint8)

    return classes


PATTERNS = {"pressed": pressed, "grains": grains}


def write_volume(place: Location, shape: Shape, pattern: Pattern) -> Location:
    """A volume of `shape`, one shard at a time."""
    array = create_array(place / "border_core", shape, np.uint8)
    for block in BlockGrid(shape, (TILE, TILE, TILE)):
        write_box(array, block.core, pattern(block.core))
    return place / "border_core"


class PeakMemory:
    """Most memory that a process (this one when none is given) and its children had together, seen every 50 ms.

    New children are looked for every second: that takes milliseconds of a core, which workers may need.
    """

    def __init__(self, process: psutil.Process | None = None) -> None:
        self.bytes = 0
        self._process = process or psutil.Process()
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._watching.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._watching.join()

    def _watch(self) -> None:
        family: list[psutil.Process] = []
        looked = -math.inf
        while not self._ended.wait(0.05):
            if time.monotonic() > looked + 1:
                with contextlib.suppress(psutil.NoSuchProcess):
                    family = [self._process, *self._process.children(recursive=True)]
                looked = time.monotonic()
            total = 0
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            self.bytes = max(self.bytes, total)


def cpu_seconds() -> tuple[float, float]:
    """Seconds that this process and its children have computed, in user space and in the kernel."""
    me = psutil.Process()
    times = [process.cpu_times() for process in [me, *me.children(recursive=True)]]
    return sum(t.user for t in times), sum(t.system for t in times)


def measure(shape: Shape, pattern: Pattern, runner: Runner, memory_bytes: int) -> float:
    """Run one volume, print a line, return the seconds it took per voxel."""
    stages = []
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        plan = plan_instances(
            write_volume(place, shape, pattern),
            place / "labels",
            place / "work",
            context=Context(runner, memory_bytes),
        )
        wall, (user, system) = time.perf_counter(), cpu_seconds()
        with PeakMemory() as peak:
            summary = run_instances(plan, runner=runner, progress=Progress(stages.append))
        wall, (user, system) = time.perf_counter() - wall, np.subtract(cpu_seconds(), (user, system))
    voxels = math.prod(shape)
    print(
        f"{'x'.join(map(str, shape))}, {len(plan.blocks())} block(s), {summary.particles} particles: {wall:.1f} s, "
        f"{voxels / wall / 1e6:.1f} Mvoxel/s, {wall / voxels * 1e9:.1f} ns/voxel; CPU {user + system:.1f} s, of it "
        f"{system:.1f} s in the kernel; "
        f"peak {peak.bytes / 2**30:.2f} GiB (planned {plan.memory_bytes * runner.workers / 2**30:.2f})"
    )
    print("       " + ", ".join(f"{e.stage} {e.seconds:.1f} s" for e in stages if isinstance(e, StageFinished)))
    return wall / voxels


def main() -> None:
    """Measure the volumes asked for, the smallest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", nargs="*", type=int, default=[256, 512])
    parser.add_argument("--pattern", choices=sorted(PATTERNS), default="pressed")
    parser.add_argument("--border-core", type=Path, metavar="NPZ")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runner", choices=("threads", "processes"), default="threads")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GB")
    args = parser.parse_args()
    runner, memory_bytes = Runner(kind=args.runner, workers=args.workers), int(args.memory * 2**30)
    warm_up = pattern = PATTERNS[args.pattern]()
    shapes = [(side,) * 3 for side in sorted(args.side)]
    if args.border_core:
        volume = np.load(args.border_core)["bc"]
        pattern, shapes = (lambda box: volume[box.slices]), [volume.shape]
    print("kernels are compiled or loaded:")
    measure((TILE * args.workers, TILE, TILE), warm_up, runner, memory_bytes)  # a block for every worker
    print("measured:")
    per_voxel = [measure(shape, pattern, runner, memory_bytes) for shape in shapes]
    for shape, seconds in zip(shapes[1:], per_voxel[1:], strict=True):
        print(f"time per voxel, {shape[0]} / {shapes[0][0]}: {seconds / per_voxel[0]:.2f}")


if __name__ == "__main__":
    main()
