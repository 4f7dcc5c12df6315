"""Border-core labels to particles: time per voxel and peak memory, and how both change with the volume.

    python tests/benchmarks/instances.py [SIDE ...] [--workers N] [--runner threads|processes] [--memory GB]

The volumes are made here, block by block: touching particles, 125 in 128 cubed, nearly all in one component, which is
the hard case. 1024 cubed has 64,000 of them. Times include reading and writing Zarr on a local folder.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ps3d_core.blockwise import Runner
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.instances.labels import run_instances
from ps3d_core.instances.plan import plan_instances
from ps3d_core.progress import Progress, StageFinished
from ps3d_core.store.arrays import create_array, write_box
from ps3d_core.store.location import Location

TILE = 128
SPACING = TILE / 5


def tile() -> np.ndarray:
    """Border-core labels that continue over their own edges: balls around a jittered lattice, pressed together."""
    rng = np.random.default_rng(0)
    lattice = np.indices((5, 5, 5)).reshape(3, -1).T
    centres = ((lattice + 0.5) * SPACING + rng.uniform(-4, 4, (125, 3))) % TILE
    voxels = np.indices((TILE,) * 3).reshape(3, -1).T
    nearest, second = cKDTree(centres, boxsize=TILE).query(voxels, k=2)[0].T
    border = (second - nearest < 4) | (nearest > 12)
    classes = np.where(nearest > 14, 0, np.where(border, 2, 1))
    return classes.astype(np.uint8).reshape((TILE,) * 3)


def write_volume(place: Location, side: int, pattern: np.ndarray) -> Location:
    """A volume of `side` cubed, tiles of `pattern`, one shard at a time."""
    shape = (side, side, side)
    array = create_array(place / "border_core", shape, np.uint8)
    for block in BlockGrid(shape, (TILE, TILE, TILE)):
        z, y, x = block.core.shape
        write_box(array, block.core, pattern[:z, :y, :x])
    return place / "border_core"


def measure(side: int, pattern: np.ndarray, runner: Runner, memory_bytes: int) -> float:
    """Run one volume, print a line, return the seconds it took per voxel."""
    stages = []
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        plan = plan_instances(
            write_volume(place, side, pattern),
            place / "labels",
            place / "work",
            memory_bytes=memory_bytes,
            workers=runner.workers,
        )
        wall, cpu = time.perf_counter(), time.process_time()
        summary = run_instances(plan, runner=runner, progress=Progress(stages.append))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    print(
        f"{side:5d} cubed, {len(plan.blocks()):3d} block(s), {summary.particles:6d} particles: {wall:7.1f} s, "
        f"{side**3 / wall / 1e6:5.1f} Mvoxel/s, {wall / side**3 * 1e9:5.1f} ns/voxel; CPU here {cpu:6.1f} s; "
        f"peak {peak:.2f} GiB (planned {plan.memory_bytes * runner.workers / 2**30:.2f})"
    )
    print("       " + ", ".join(f"{e.stage} {e.seconds:.1f} s" for e in stages if isinstance(e, StageFinished)))
    return wall / side**3


def main() -> None:
    """Measure the volumes asked for, the smallest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", nargs="*", type=int, default=[256, 512])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runner", choices=("threads", "processes"), default="threads")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GB")
    args = parser.parse_args()
    runner, memory_bytes = Runner(kind=args.runner, workers=args.workers), int(args.memory * 2**30)
    pattern = tile()
    print("kernels are compiled or loaded:")
    measure(TILE, pattern, runner, memory_bytes)
    print("measured:")
    sides = sorted(args.side)
    per_voxel = [measure(side, pattern, runner, memory_bytes) for side in sides]
    for side, seconds in zip(sides[1:], per_voxel[1:], strict=True):
        print(f"time per voxel, {side} / {sides[0]}: {seconds / per_voxel[0]:.2f}")


if __name__ == "__main__":
    main()
