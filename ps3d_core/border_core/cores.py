"""Cores: the connected heaps of class 1 that become particles, found block by block.

A block labels its cores on its own, 6-connected, and measures what the small-core rule needs: how many voxels have
something that is not core at a distance of at most 1, and whether a voxel has nothing of the kind nearer than 3.
Distances are Euclidean between voxel centres, so a neighbourhood decides both: at most 1 is one of the 6 face
neighbours, below 3 is one of the offsets with z2 + y2 + x2 < 9. None reaches farther than 2 voxels, the halo.

Beyond the faces of the volume nothing is known, and what is not known is not "not core": the edge of the scan makes
no core small. (A distance transform of the bare volume sees it the same way.) A core in a volume without any
other voxel is infinitely deep, hence not small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.classes import CORE, Classes, read_classes
from ps3d_core.border_core.components import Components, find_components, write_labels
from ps3d_core.border_core.pieces import finished_counts, measure_pieces, merge_pieces
from ps3d_core.border_core.plan import InstancesPlan, ensure_labels
from ps3d_core.border_core.seams import Labels, block_faces
from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Box
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import object_shape, open_array, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

REACH: Final = 2

Integers = npt.NDArray[np.int64]


class CoreNumbers(NamedTuple):
    """From cores as blocks label them to cores of the volume.

    offsets: (bz, by, bx) int64, serials before each block.
    numbers: (pieces + 1,) uint32; by serial, 1..cores in C order of the first voxel, 0 for small cores.
    cores, small: how many there are of each.
    """

    offsets: Integers
    numbers: Labels
    cores: int
    small: int


def label_cores(plan: InstancesPlan, *, runner: Runner | None = None, progress: Progress = SILENT) -> Record:
    """Label and measure the cores of every block. Returns the number of pieces: cores, as the blocks cut them."""
    ensure_labels(plan, plan.core_labels, _ledger(plan))
    blocks, work = list(plan.blocks()), _LabelCores(plan)
    records = run_blocks("label cores", blocks, work, ledger=_ledger(plan), runner=runner, progress=progress)
    return {"pieces": sum(record["pieces"] for record in records)}


def merge_cores(plan: InstancesPlan, *, progress: Progress = SILENT) -> Record:
    """Join the cores of all blocks, drop small ones, number the rest. Returns how many there are of each."""
    with progress.stage("merge cores", 1, "tables") as stage:
        merged = plan.ledger("merge-cores", plan.cores_fingerprint)
        found = merged.once(lambda: _write_numbers(plan), [plan.core_numbers])
        stage.advance()
    return found


@lru_cache(maxsize=1)
def core_numbers(location: Location) -> CoreNumbers:
    """The table `merge_cores` wrote. Kept between blocks: the name of its location is a fingerprint of its content."""
    arrays = location.read_arrays()
    return CoreNumbers(arrays["offsets"], arrays["numbers"], int(arrays["cores"]), int(arrays["small"]))


def is_small(voxels: Integers, near: Integers, deep: Integers) -> npt.NDArray[np.bool_]:
    """The small-core rule: at least 95 % of the voxels are near, none is deep. In whole numbers, so 95 % is exact."""
    small: npt.NDArray[np.bool_] = (20 * near >= 19 * voxels) & (deep == 0)
    return small


@dataclass(frozen=True, slots=True)
class _LabelCores:
    plan: InstancesPlan

    def __call__(self, block: Block) -> Record:
        plan, core = self.plan, block.core
        classes = _with_surroundings(plan, core)
        inside = np.ascontiguousarray(classes[REACH:-REACH, REACH:-REACH, REACH:-REACH])
        cores = find_components(inside, CORE, 6)
        del inside
        if cores.total:
            measures = measure_pieces(cores, core, plan.shape) | _measure_depth(classes, cores)
            faces = block_faces(cores, block, plan.blocks())
            (plan.core_pieces / f"{block.index}.npz").write_arrays(**measures, **faces)
        del classes
        self._write(cores, core)
        return {"pieces": cores.total}

    def _write(self, cores: Components, core: Box) -> None:
        """Write the labels a few planes at a time: they are four times as large as the classes."""
        array = open_array(self.plan.core_labels, writable=True)
        for slab in core.slabs(object_shape(array)[0]):
            planes = slab.relative_to(core)
            labels = np.zeros(slab.shape, np.uint32)
            write_labels(cores.planes(planes.start[0], planes.stop[0]), labels)
            write_box(array, slab, labels)


def _write_numbers(plan: InstancesPlan) -> Record:
    grid = plan.blocks()
    counts = finished_counts(_ledger(plan), range(len(grid)))
    pieces = merge_pieces(
        grid, counts, lambda index: plan.core_pieces / f"{index}.npz", diagonal=False, sums=("voxels", "near", "deep")
    )
    cores = pieces.components()
    small = is_small(*(pieces.sums[name][cores] for name in ("voxels", "near", "deep")))
    found = {"cores": int(np.count_nonzero(~small)), "small": int(np.count_nonzero(small))}
    plan.core_numbers.write_arrays(
        offsets=pieces.offsets[:-1].reshape(grid.counts),
        numbers=pieces.numbers(pieces.in_scan_order(cores[~small])),
        **{name: np.array(count) for name, count in found.items()},
    )
    return found


def _ledger(plan: InstancesPlan) -> Ledger:
    return plan.ledger("cores", plan.cores_fingerprint)


def _with_surroundings(plan: InstancesPlan, core: Box) -> Classes:
    """Classes of a block and 2 voxels around it; beyond the volume they are core, which is near to nothing."""
    z, y, x = (side + 2 * REACH for side in core.shape)
    classes = np.full((z, y, x), CORE, np.uint8)
    known = core.grow(REACH, plan.shape)
    z, y, x = (start - REACH for start in core.start)
    read_classes(open_image(plan.border_core), known, classes[known.shift((-z, -y, -x)).slices])
    return classes


def _measure_depth(classes: Classes, cores: Components) -> dict[str, Integers]:
    """By label, "near": voxels with a distance of at most 1; "deep": 1 when a voxel has one of 3 or more, else 0.

    `classes` has 2 voxels more on every side than the block in which the `cores` are.
    """
    near, deep = np.zeros((2, cores.total), np.int64)
    _look_around(classes, cores, _ball(), near, deep)
    return {"near": near, "deep": deep}


def _ball() -> Integers:
    """Offsets (n, 3) with a distance above 1 and below 3, the nearest first."""
    steps = np.arange(-REACH, REACH + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    squared = (offsets**2).sum(axis=1)
    wanted = (squared > 1) & (squared < 9)
    return np.asarray(offsets[wanted][np.argsort(squared[wanted], kind="stable")])


@njit(nogil=True, cache=True)
def _look_around(classes: Classes, cores: Components, ball: Integers, near: Integers, deep: Integers) -> None:
    depth, height, _ = cores.shape
    for z in range(REACH, depth + REACH):
        for y in range(REACH, height + REACH):
            row = (z - REACH) * height + y - REACH
            for run in range(cores.first[row], cores.first[row + 1]):
                core = cores.label[run] - 1
                for x in range(cores.begin[run] + REACH, cores.end[run] + REACH):
                    if (
                        classes[z, y, x - 1] != CORE
                        or classes[z, y, x + 1] != CORE
                        or classes[z, y - 1, x] != CORE
                        or classes[z, y + 1, x] != CORE
                        or classes[z - 1, y, x] != CORE
                        or classes[z + 1, y, x] != CORE
                    ):
                        near[core] += 1
                    elif deep[core] == 0 and _is_deep(classes, z, y, x, ball):
                        deep[core] = 1


@njit(nogil=True, cache=True)
def _is_deep(classes: Classes, z: int, y: int, x: int, ball: Integers) -> bool:
    """True when no voxel of the ball is anything but core."""
    for i in range(ball.shape[0]):  # noqa: SIM110 - numba has no generators
        if classes[z + ball[i, 0], y + ball[i, 1], x + ball[i, 2]] != CORE:
            return False
    return True
