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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core import plan as planning
from ps3d_core.border_core.classes import CORE, Classes, read_classes
from ps3d_core.border_core.components import Components, find_components, write_labels
from ps3d_core.border_core.part import BlockPart, TablePart
from ps3d_core.border_core.pieces import measure_extents, measure_pieces, merge_pieces
from ps3d_core.border_core.plan import InstancesPlan, ensure_labels
from ps3d_core.border_core.seams import Labels, block_faces
from ps3d_core.engine.block_step import Site
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import object_shape, open_array, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

VERSION: Final = 2
"""Raise when blocks leave other measures of their cores."""

REACH: Final = 2
SMALLEST_WITH_NECK: Final = 15
"""Voxels: a neck of one voxel, and on both sides one that has core behind all its faces."""

Integers = npt.NDArray[np.int64]


class CoreNumbers(NamedTuple):
    """Table from cores as blocks label them to cores of the volume.

    offsets: (bz, by, bx) int64, serials before each block.
    numbers: (pieces + 1,) uint32; by serial, 1..cores in C order of the first voxel, 0 for small cores.
    """

    offsets: Integers
    numbers: Labels


class LargeCores(NamedTuple):
    """Cores that are large enough for a neck, in their order.

    numbers: (n,) uint32.
    reach: (6, n) int32, how far they reach, see `no_reach`.
    """

    numbers: Labels
    reach: npt.NDArray[np.int32]


class Pieces(BaseModel):
    """Counts of the cores that blocks found."""

    model_config = ConfigDict(frozen=True)

    counts: tuple[int, ...] = Field(description="cores in each block, as the blocks cut them")


class Cores(BaseModel):
    """Counts of the cores in the whole volume."""

    model_config = ConfigDict(frozen=True)

    cores: int
    small: int = Field(description="those that became border")


@dataclass(frozen=True)
class LabelCores(BlockPart[Pieces]):
    """Step that labels and measures the cores of every block on its own."""

    name, title, found = "cores", "label cores", Pieces

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of the way from border-core labels to particles, and of what blocks leave of their cores."""
        return (planning.VERSION, VERSION)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the border-core labels, and how they are cut: blocks number what they find."""
        return (self.plan.input_fingerprint, self.plan.shape, self.plan.block_shape)

    @property
    def labels(self) -> Location:
        """Array of the cores' labels, uint32, each block's own."""
        return self.site(self.plan.blocks()).place / "labels"

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the array of the cores' labels, unless it is there."""
        ensure_labels(self.plan, self.labels, ledger)

    def work(self, block: Block, site: Site) -> Record:
        """Label the cores of one block, leave their measures and faces, and return how many there are."""
        shape, core = self.plan.shape, block.core
        classes = _with_surroundings(self.plan, core)
        inside = np.ascontiguousarray(classes[REACH:-REACH, REACH:-REACH, REACH:-REACH])
        cores = find_components(inside, CORE, 6)
        del inside
        if cores.total:
            measures = measure_pieces(cores, core, shape) | _measure_depth(classes, cores)
            measures["reach"] = measure_extents(cores, core, None)["reach"]
            site.file(block.index).write_arrays(**measures, **block_faces(cores, block, site.grid))
        del classes
        self._write(cores, core)
        return {"pieces": cores.total}

    def merge(self, records: Sequence[Record], site: Site) -> Pieces:
        """Return how many cores each block found."""
        return Pieces(counts=tuple(record["pieces"] for record in records))

    def _write(self, cores: Components, core: Box) -> None:
        """Write the labels a few planes at a time: they are four times as large as the classes."""
        array = open_array(self.labels, writable=True)
        for slab in core.slabs(object_shape(array)[0]):
            planes = slab.relative_to(core)
            labels = np.zeros(slab.shape, np.uint32)
            write_labels(cores.planes(planes.start[0], planes.stop[0]), labels)
            write_box(array, slab, labels)


@dataclass(frozen=True)
class NumberCores(TablePart[Cores]):
    """Step that joins the cores of all blocks, drops small ones and numbers the rest."""

    cores: LabelCores

    name, title, found = "core-numbers", "merge cores", Cores

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Number of voxels below which a core is small, where it is not the rule of depth; whether cores are split."""
        return (*self.plan.core_rule, *(("split",) if self.plan.neck_rule else ()))

    @property
    def large(self) -> Location:
        """File of the cores that are large enough for a neck, an .npz; where cores are split."""
        return self.table.parent / f"large-{self.table.name}"

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the table, and that of large cores."""
        return super().outputs | ({"large-cores": self.large} if self.plan.neck_rule else {})

    def make(self, done: Outcomes, context: Context) -> Cores:
        """Join cores in memory: one number per core."""
        site = self.cores.site(self.plan.blocks())
        with context.progress.stage(self.title, 1, "tables") as stage:
            counts = {index: count for index, count in enumerate(done.of(LabelCores).counts) if count}
            sums = ("voxels", "near", "deep")
            splits = bool(self.plan.neck_rule)
            pieces = merge_pieces(site.grid, counts, site.file, diagonal=False, sums=sums, reach=splits)
            cores = pieces.components()
            voxels, near, deep = (pieces.sums[name][cores] for name in sums)
            smallest = self.plan.params.smallest_core
            small = is_small(voxels, near, deep) if smallest is None else voxels < smallest
            found = Cores(cores=int(np.count_nonzero(~small)), small=int(np.count_nonzero(small)))
            ordered = pieces.in_scan_order(cores[~small])
            numbers = pieces.numbers(ordered)
            self.table.write_arrays(offsets=pieces.offsets[:-1].reshape(site.grid.counts), numbers=numbers)
            if splits:
                large = ordered[pieces.sums["voxels"][ordered] >= SMALLEST_WITH_NECK]
                self.large.write_arrays(numbers=numbers[large], reach=pieces.reach[:, large].astype(np.int32))
            stage.advance()
        return found


@lru_cache(maxsize=1)
def core_numbers(location: Location) -> CoreNumbers:
    """Return the table of `NumberCores`. Kept between blocks: its location has a fingerprint of the content."""
    return CoreNumbers(**location.read_arrays())


def is_small(voxels: Integers, near: Integers, deep: Integers) -> npt.NDArray[np.bool_]:
    """Return which cores are small by ParticleSeg3D's rule, bool.

    Of a small core at least 95 % of the voxels are near and none is deep. The rule is in whole numbers, so 95 % is
    exact.
    """
    small: npt.NDArray[np.bool_] = (20 * near >= 19 * voxels) & (deep == 0)
    return small


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
