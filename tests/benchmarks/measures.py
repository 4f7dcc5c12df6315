"""Time and memory of measuring real label volumes, from few large particles to ten million small ones.

    python tests/benchmarks/measures.py [--side 1024] [--cells 216 50 16] [--columns core shape all] [--workers 2]
                                        [--memory 2] [--store DIR] [--shuffled] [--block 128]

A volume is a lattice of irregular particles, one in each cell, cut into ellipsoids of random axes and orientations that
fill half of it: 216 cells along each side are ten million. Labels follow their places, as those of ps3d do; with
`--shuffled` each volume is measured with labels in no order as well, as other programs may number them. Each choice of
columns is measured in a process of its own, so that its peak of memory is its own. Prints particles, seconds,
microseconds per particle, the ratio to the core columns of the same volume, what was read of the files that blocks
leave and how many requests that took, and the peak of resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box
from ps3d_core.measuring.measure import Foreign, measure_sample
from ps3d_core.params import MeasureParams
from ps3d_core.particles.sample import Sample
from ps3d_core.store.arrays import create_array, object_shape, open_array, write_box
from ps3d_core.store.location import Location


@njit(parallel=True, cache=True)
def fill(block, start, side, cells, shapes, numbers):
    """Write the particles of the cells that reach into a slab: their matrices, rows of 9, are `shapes` in turn.

    Labels are `numbers`, or the cells' own in their order where there are none.
    """
    width = side / cells
    for z in prange(block.shape[0]):
        cz = min(int((z + start) / width), cells - 1)
        for y in range(block.shape[1]):
            cy = min(int(y / width), cells - 1)
            for x in range(block.shape[2]):
                cx = min(int(x / width), cells - 1)
                cell = (cz * cells + cy) * cells + cx
                label = numbers[cell] if numbers.size else cell + 1
                a = (z + start + 0.5) / width - cz - 0.5
                b = (y + 0.5) / width - cy - 0.5
                c = (x + 0.5) / width - cx - 0.5
                m = shapes[cell % shapes.shape[0]]
                u = m[0] * a + m[1] * b + m[2] * c
                v = m[3] * a + m[4] * b + m[5] * c
                w = m[6] * a + m[7] * b + m[8] * c
                block[z, y, x] = label if u * u + v * v + w * w < 1 else 0


def make(place: str, side: int, cells: int, shuffled: bool) -> None:
    """Write the label image of a lattice of ellipsoids."""
    rng = np.random.default_rng(cells)
    turned = np.linalg.qr(rng.normal(size=(997, 3, 3)))[0]
    shapes = (turned / rng.uniform(0.3, 0.5, (997, 1, 3)) @ turned.transpose(0, 2, 1)).reshape(-1, 9)
    numbers = rng.permutation(np.arange(1, cells**3 + 1, dtype=np.uint32)) if shuffled else np.empty(0, np.uint32)
    array = create_array(Location.parse(place), (side,) * 3, np.uint32)
    depth = object_shape(array)[0]
    for z in range(0, side, depth):
        slab = np.empty((min(depth, side - z), side, side), np.uint32)
        fill(slab, z, side, cells, shapes, numbers)
        write_box(array, Box((z, 0, 0), (z + len(slab), side, side)), slab)


class Measured(NamedTuple):
    """What one measurement took.

    busy: seconds of all cores together, which others on the machine add little to.
    read: bytes of the files that blocks leave for later, in `requests` of them.
    peak: of resident memory, MiB.
    """

    particles: int
    seconds: float
    busy: float
    read: int
    requests: int
    peak: float


def measured(place: str, columns: str, workers: int, memory: float, block: int | None) -> Measured:
    """Measure a label image in this process."""
    warm_up(columns)
    sizes = noting_reads()
    context = Context(Runner(workers=workers), int(memory * 2**30))
    with TemporaryDirectory() as folder:
        output = Location.parse(folder)
        started, busy = time.perf_counter(), time.process_time()
        sample = Sample(Location.parse(place), None, 0.01)
        params = MeasureParams(columns=columns)
        options = {"params": params, "foreign": Foreign("labels"), "block_shape": block and (block,) * 3}
        found = measure_sample(sample, output, work=output / "work", context=context, **options)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measured(found.particles, seconds, busy, sum(sizes), len(sizes), peak)


def noting_reads() -> list[int]:
    """Return a list that gets the size of every file of arrays that is read from now on."""
    sizes: list[int] = []
    read = Location.read_bytes

    def noted(self: Location) -> bytes:
        data = read(self)
        if self.name.endswith(".npz"):
            sizes.append(len(data))
        return data

    Location.read_bytes = noted
    return sizes


def warm_up(columns: str) -> None:
    """Compile what is not compiled yet."""
    with TemporaryDirectory() as folder:
        place = Location.parse(folder)
        make(str(place / "labels"), 32, 3, shuffled=False)
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
    parser.add_argument("--block", type=int)
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--store")
    args = parser.parse_args()
    with TemporaryDirectory(dir=args.store) as folder:
        for cells in args.cells:
            for shuffled in [False, True] if args.shuffled else [False]:
                place = f"{folder}/{cells}-{shuffled}"
                apart(make, place, args.side, cells, shuffled)
                compare(place, shuffled, args)


def compare(place: str, shuffled: bool, args: argparse.Namespace) -> None:
    """Print what each choice of columns takes for one label image."""
    side, core = open_array(Location.parse(place)).shape[0], None
    for columns in args.columns:
        found = apart(measured, place, columns, args.workers, args.memory, args.block)
        core = core or found.seconds
        print(
            f"{side} cubed, {found.particles:>10,} particles{' shuffled' if shuffled else ''}, {columns:5}: "
            f"{found.seconds:7.1f} s ({found.busy:.1f} s of cores), "
            f"{1e6 * found.seconds / found.particles:9.2f} us per particle, {found.seconds / core:5.1f} x "
            f"{args.columns[0]}, {found.read / 1e6:,.0f} MB in {found.requests} requests, "
            f"peak {found.peak:6.0f} MiB"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
