"""Merging the cores of all blocks of a volume: seconds and peak memory for ten million of them.

Usage: python tests/benchmarks/merge_cores.py [--blocks 9 9 8]

No volume is needed: a block of 125 voxels a side is labelled, whose faces cut cubes of 4 voxels, and its tables are
written for every block.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from instances import GRAIN, PeakMemory, grains

from ps3d_core.border_core.classes import CORE
from ps3d_core.border_core.components import find_components
from ps3d_core.border_core.cores import Cores, LabelCores, NumberCores, Pieces
from ps3d_core.border_core.pieces import measure_pieces
from ps3d_core.border_core.plan import InstancesPlan, plan_instances
from ps3d_core.border_core.seams import block_faces
from ps3d_core.engine.step import Context, Outcome, Outcomes
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import create_array
from ps3d_core.store.location import Location

SIDE = 25 * GRAIN


def main() -> None:
    """Make the tables, merge them, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", nargs=3, type=int, default=(9, 9, 8), metavar=("Z", "Y", "X"))
    counts = parser.parse_args().blocks
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(folder)
        merged(labelled(place / "warm-up", (1, 1, 2)))
        plan = labelled(place / "volume", counts)
        with PeakMemory() as peak:
            started = time.perf_counter()
            found = merged(plan)
            seconds = time.perf_counter() - started
    print(
        f"{len(plan.blocks())} blocks, {found.cores} cores: {seconds:.1f} s, peak of the process "
        f"{peak.bytes / 2**30:.2f} GiB"
    )


def merged(plan: InstancesPlan) -> Cores:
    """Merge what `labelled` left."""
    cores = LabelCores(plan)
    pieces = len(cores.site(plan.blocks()).file(0).read_arrays()["first"])
    done = Outcomes({cores.name: Outcome(Pieces(counts=(pieces,) * len(plan.blocks())), 0.0)})
    return NumberCores(plan, cores).make(done, Context())


def labelled(place: Location, counts: Sequence[int]) -> InstancesPlan:
    """A volume of `counts` blocks as the first stage leaves it, except that there are no voxels."""
    z, y, x = (SIDE * n for n in counts)
    create_array(place / "border_core", (z, y, x), np.uint8)
    plan = plan_instances(
        place / "border_core", place / "labels", place / "work", context=Context(), block_shape=(SIDE, SIDE, SIDE)
    )
    inside = Box((2, 2, 2), (SIDE + 2, SIDE + 2, SIDE + 2))
    pieces = find_components(grains()(inside), CORE, 6)
    deep = {"near": np.zeros(pieces.total, np.int64), "deep": np.ones(pieces.total, np.int64)}  # none of them is small
    site = LabelCores(plan).site(plan.blocks())
    for block in plan.blocks():
        measures = measure_pieces(pieces, block.core, plan.shape)
        faces = block_faces(pieces, block, plan.blocks())
        site.file(block.index).write_arrays(**measures, **deep, **faces)
    return plan


if __name__ == "__main__":
    main()
