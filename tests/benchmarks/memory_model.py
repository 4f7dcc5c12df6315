"""What work really takes of this machine, beside the constants of `ps3d_core.memory_model`; status 1 when one is short.

    python tests/benchmarks/memory_model.py [STAGE ...] [--side 256]

Each measurement is a process of its own. A stage is run on one block, of a small volume first, which compiles and
loads everything, and then of SIDE cubed voxels, in another process of half the side. By how much the peaks that come on
top differ, per voxel, is what the constant has to cover: what does not grow with the block is a worker's own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from ps3d_core import memory_model
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box
from ps3d_core.memory import release_memory, share_heaps
from ps3d_core.store.arrays import SHARD, create_array, write_box
from ps3d_core.store.location import Location
from tests.benchmarks.instances import PeakMemory, pressed, write_volume

SMALL = 64
BUDGET = 2**40  # one block
MIB = 2**20


def labels_in(place: Location, side: int, name: str = "labels") -> Location:
    """Cubes of 12 voxels without gaps: as many contacts as particles of a usual size can have."""
    array = create_array(place / name, (side,) * 3, np.uint32)
    z, y, x = np.ogrid[:side, :side, :side]
    n = -(-side // 12)
    for start in range(0, side, SHARD):
        slab = (z[start : start + SHARD] // 12 * n + y // 12) * n + x // 12 + 1
        write_box(array, _box(start, slab.shape), slab.astype(np.uint32))
    return place / name


def grey_in(place: Location, side: int) -> Location:
    """Noise, uint16."""
    array = create_array(place / "grey", (side,) * 3, np.uint16)
    rng = np.random.default_rng(0)
    for start in range(0, side, SHARD):
        shape = (min(SHARD, side - start), side, side)
        write_box(array, _box(start, shape), rng.integers(0, 2**16, shape, np.uint16))
    return place / "grey"


def instances(place: Location, side: int) -> Callable[[], object]:
    """Border-core labels to particles."""
    from ps3d_core.border_core.labels import border_core_to_instances

    source = write_volume(place, (side,) * 3, pressed())
    return lambda: border_core_to_instances(source, place / "out", place / "work", context=Context(memory_bytes=BUDGET))


def vote(place: Location, side: int) -> Callable[[], object]:
    """Labels to a grid of as many voxels."""
    from ps3d_core.border_core.vote import LabelVote
    from ps3d_core.store.arrays import open_array, read_box

    array = open_array(labels_in(place, side))
    target = Box((0, 0, 0), (side, side - 1, side))

    def one_block() -> object:
        vote = LabelVote((side,) * 3, target.stop)
        return vote(read_box(array, vote.source_box(target)), target)

    return one_block


def measure(place: Location, side: int) -> Callable[[], object]:
    """Sums over labels and grey values."""
    from ps3d_core.measuring.measure import GivenLabels, Sample

    sample = Sample(labels_in(place, side), grey_in(place, side), spacing=0.01)
    step = GivenLabels(sample, ("labels", "grey"), place, place / "work", block_shape=(side,) * 3)
    site = step.site(step.grid(Context(memory_bytes=BUDGET)))
    return lambda: step.work(site.grid[0], site)


def contacts(place: Location, side: int) -> Callable[[], object]:
    """Pairs of labels that touch, and voxels of particles."""
    from ps3d_core.contacts.step import GivenContacts

    step = GivenContacts(labels_in(place, side), "labels", 0.01, place, place / "work", block_shape=(side,) * 3)
    site = step.site(step.grid(Context(memory_bytes=BUDGET)))
    return lambda: step.work(site.grid[0], site)


def evaluation(place: Location, side: int) -> Callable[[], object]:
    """Two label images against each other."""
    from ps3d_core.evaluation.evaluate import evaluate

    one, other = labels_in(place, side), labels_in(place, side, "other")
    return lambda: evaluate(one, other, work=place / "work", block_shape=(side,) * 3)


STAGES = {
    "instances": (instances, memory_model.INSTANCES_BYTES),
    "vote": (vote, memory_model.VOTE_TARGET_BYTES + memory_model.VOTE_SOURCE_BYTES),
    # Labels of 4 bytes and grey values of 2, as they are stored.
    "measure": (measure, 4 + 2 + memory_model.LABELS_BYTES + memory_model.GREY_BYTES),
    "contacts": (contacts, memory_model.CONTACTS_BYTES),
    "evaluation": (evaluation, memory_model.EVALUATION_BYTES),
}


def measured(stage: str, side: int) -> int:
    """Bytes that a block of `side` cubed takes at its peak; in this process, which should be a fresh one."""
    share_heaps()
    begin, _ = STAGES[stage]
    with tempfile.TemporaryDirectory() as folder:
        begin(Location.parse(folder) / "small", SMALL)()
        work = begin(Location.parse(folder) / "large", side)
        release_memory()
        before = psutil.Process().memory_info().rss
        with PeakMemory() as peak:
            work()
    return peak.bytes - before


def alone(stage: str, side: int) -> int:
    """What `measured` finds in a fresh process."""
    command = [sys.executable, __file__, "--alone", stage, "--side", str(side)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def torch_takes() -> int:
    """Bytes that importing torch adds to a process."""
    code = "import psutil; p = psutil.Process(); a = p.memory_info().rss; import torch; print(p.memory_info().rss - a)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def _box(start: int, shape: tuple[int, ...]) -> Box:
    return Box((start, 0, 0), (start + shape[0], shape[1], shape[2]))


def main() -> int:
    """Measure what is asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)} (default: all)")
    parser.add_argument("--side", type=int, default=256, metavar="VOXELS")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(measured(args.alone, args.side)))
        return 0
    print(f"{'':12}{'model':>10}{'here':>10}")
    short = False
    if not args.stages:
        took, model = torch_takes() / MIB, memory_model.torch_bytes() / MIB
        short |= took > model
        print(f"{'torch':12}{model:10.0f}{took:10.0f}  MiB{'  SHORT' if took > model else ''}")
    for stage in args.stages or STAGES:
        took = (alone(stage, args.side) - alone(stage, args.side // 2)) / (args.side**3 - (args.side // 2) ** 3)
        model = STAGES[stage][1]
        short |= took > model
        print(f"{stage:12}{model:10.1f}{took:10.1f}  bytes per voxel{'  SHORT' if took > model else ''}", flush=True)
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
