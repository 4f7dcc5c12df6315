"""Time and memory of measuring real label volumes, from few large particles to ten million small ones.

    python tests/benchmarks/measures.py [--side 1024] [--cells 216 50 16] [--columns core shape all] [--workers 2]
                                        [--memory 2] [--store DIR]

A volume is a lattice of irregular particles, one in each cell, cut into ellipsoids of random axes and orientations that
fill half of it: 216 cells along each side are ten million. Each choice of columns is measured in a process of its own,
so that its peak of memory is its own. Prints particles, seconds, microseconds per particle, the ratio to the core
columns of the same volume, and the peak of resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from tempfile import TemporaryDirectory

import numpy as np
from numba import njit, prange

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box
from ps3d_core.measuring.measure import measure_sample
from ps3d_core.params import MeasureParams
from ps3d_core.particles.sample import Sample
from ps3d_core.store.arrays import create_array, object_shape, open_array, write_box
from ps3d_core.store.location import Location


@njit(parallel=True, cache=True)
def fill(block, start, side, cells, shapes):
    """Write the particles of the cells that reach into a slab: whose matrices (cells^3 rows of 9) are `shapes`."""
    width = side / cells
    for z in prange(block.shape[0]):
        cz = min(int((z + start) / width), cells - 1)
        for y in range(block.shape[1]):
            cy = min(int(y / width), cells - 1)
            for x in range(block.shape[2]):
                cx = min(int(x / width), cells - 1)
                label = (cz * cells + cy) * cells + cx
                a = (z + start + 0.5) / width - cz - 0.5
                b = (y + 0.5) / width - cy - 0.5
                c = (x + 0.5) / width - cx - 0.5
                m = shapes[label % shapes.shape[0]]
                u = m[0] * a + m[1] * b + m[2] * c
                v = m[3] * a + m[4] * b + m[5] * c
                w = m[6] * a + m[7] * b + m[8] * c
                block[z, y, x] = label + 1 if u * u + v * v + w * w < 1 else 0


def make(place: str, side: int, cells: int) -> None:
    """Write the label image of a lattice of ellipsoids."""
    rng = np.random.default_rng(cells)
    turned = np.linalg.qr(rng.normal(size=(997, 3, 3)))[0]
    shapes = (turned / rng.uniform(0.3, 0.5, (997, 1, 3)) @ turned.transpose(0, 2, 1)).reshape(-1, 9)
    array = create_array(Location.parse(place), (side,) * 3, np.uint32)
    depth = object_shape(array)[0]
    for z in range(0, side, depth):
        slab = np.empty((min(depth, side - z), side, side), np.uint32)
        fill(slab, z, side, cells, shapes)
        write_box(array, Box((z, 0, 0), (z + len(slab), side, side)), slab)


def measured(place: str, columns: str, workers: int, memory: float) -> tuple[int, float, float]:
    """Return the number of particles, seconds, and the peak of memory in MiB."""
    warm_up(columns)
    context = Context(Runner(workers=workers), int(memory * 2**30))
    with TemporaryDirectory() as folder:
        output = Location.parse(folder)
        started = time.perf_counter()
        sample = Sample(Location.parse(place), None, 0.01)
        params = MeasureParams(columns=columns)
        found = measure_sample(sample, output, work=output / "work", params=params, context=context)
        seconds = time.perf_counter() - started
    return found.particles, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def warm_up(columns: str) -> None:
    """Compile what is not compiled yet."""
    with TemporaryDirectory() as folder:
        place = Location.parse(folder)
        make(str(place / "labels"), 32, 3)
        params = MeasureParams(columns=columns)
        measure_sample(Sample(place / "labels", None, 0.01), place, work=place / "work", params=params)


def apart(work, *arguments):
    """Return what `work` returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--cells", type=int, nargs="+", default=[216, 50, 16])
    parser.add_argument("--columns", nargs="+", default=["core", "shape"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=2.0)
    parser.add_argument("--store")
    args = parser.parse_args()
    with TemporaryDirectory(dir=args.store) as folder:
        for cells in args.cells:
            place = f"{folder}/{cells}"
            apart(make, place, args.side, cells)
            side, core = open_array(Location.parse(place)).shape[0], None
            for columns in args.columns:
                particles, seconds, peak = apart(measured, place, columns, args.workers, args.memory)
                core = core or seconds
                print(
                    f"{side} cubed, {particles:>10,} particles, {columns:5}: {seconds:7.1f} s, "
                    f"{1e6 * seconds / particles:9.2f} us per particle, {seconds / core:5.1f} x {args.columns[0]}, "
                    f"peak {peak:6.0f} MiB"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
