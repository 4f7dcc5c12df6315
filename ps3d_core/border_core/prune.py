"""Last step: drop specks, give the rest ids without gaps, write the label image.

Ids are 1..N in the order of the cores, then of the coreless components. Particles with fewer voxels than a share of
the mean over all particles are dropped. Both come down to one table from component to id, so the image is written
once, in blocks of its own shards, and does not show how the work before was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.border_core.coreless import coreless_numbers
from ps3d_core.border_core.cores import core_numbers
from ps3d_core.border_core.output import claim_output, output_blocks
from ps3d_core.border_core.pieces import check_ids, number_labels
from ps3d_core.border_core.plan import InstancesPlan
from ps3d_core.border_core.rounds import Grown, GrownLabels, read_grown
from ps3d_core.border_core.seams import Labels
from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Box
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import object_shape, open_array, write_box
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location

Integers = npt.NDArray[np.int64]


class Ids(NamedTuple):
    """Particle ids, uint32, 0 for what is dropped: by core number (entry 0 is background), by coreless serial.

    voxels: (particles,) of each particle that is kept.
    dropped: particles that are not.
    """

    cores: Labels
    coreless: Labels
    voxels: Integers
    dropped: int


def dense_ids(voxels: Integers, min_rel_particle_size: float) -> Labels:
    """Ids 1..N of the particles that are large enough, in their order, 0 for the others.

    Args:
        voxels: (n,) of every particle, none of them empty.
        min_rel_particle_size: smallest share of the mean number of voxels that is kept.

    Raises:
        InputError: when there are more particles than 32-bit ids.

    """
    check_ids(len(voxels))
    kept = voxels >= min_rel_particle_size * (voxels.sum() / max(1, len(voxels)))
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)


def prune_labels(plan: InstancesPlan, *, runner: Runner | None = None, progress: Progress = SILENT) -> Record:
    """Write the ids of all particles that are large enough to the output.

    Returns the number of particles, of those dropped, and the voxels that all particles have together.
    """
    plan.ledger("ids", plan.ids_fingerprint).once(lambda: _write_ids(plan), [plan.ids])
    output = claim_output(plan.output, plan.shape, plan.result_fingerprint, _ledger(plan))
    blocks = list(output_blocks(output, plan.block_shape))
    work = _WriteIds(plan, read_grown(plan))
    run_blocks("write labels", blocks, work, ledger=_ledger(plan), runner=runner, progress=progress)
    ids = read_ids(plan.ids)
    return {"particles": len(ids.voxels), "dropped": ids.dropped, "voxels": int(ids.voxels.sum())}


@lru_cache(maxsize=1)
def read_ids(location: Location) -> Ids:
    """The table from components to ids. Kept between blocks: the location's name is a fingerprint of the content."""
    arrays = location.read_arrays()
    return Ids(arrays["cores"], arrays["coreless"], arrays["voxels"], int(arrays["dropped"]))


@dataclass(frozen=True, slots=True)
class _WriteIds:
    plan: InstancesPlan
    grown: Grown

    def __call__(self, block: Block) -> Record:
        output, grown = open_array(self.plan.output, writable=True), GrownLabels(self.plan, self.grown)
        for slab in block.core.slabs(object_shape(output)[0]):
            labels = np.empty(slab.shape, np.uint32)
            grown.read(slab, labels)
            self._to_ids(labels, slab)
            write_box(output, slab, labels)
        return {}

    def _to_ids(self, labels: Labels, box: Box) -> None:
        # In place, and in this order: the id of a core is never above its number, so it is not taken for a piece.
        plan, ids = self.plan, read_ids(self.plan.ids)
        _replace(labels, ids.cores)
        if self.grown.pending:
            offsets = coreless_numbers(plan.coreless_numbers).offsets
            cores = len(ids.cores) - 1
            number_labels(labels, box, plan.blocks(), offsets, ids.coreless, labels, above=cores)


def _write_ids(plan: InstancesPlan) -> Record:
    grown, cores = read_grown(plan), core_numbers(plan.core_numbers).cores
    coreless = coreless_numbers(plan.coreless_numbers)
    of_cores = np.zeros(cores + 1, np.int64)
    for index in range(len(plan.blocks())):
        counts = grown.voxels_at(plan, index).read_arrays()
        of_cores[counts["ids"]] += counts["voxels"]
    voxels = np.concatenate((of_cores[1:], coreless.voxels))
    ids = dense_ids(voxels, plan.min_rel_particle_size)
    none = np.zeros(1, np.uint32)
    plan.ids.write_arrays(
        cores=np.concatenate((none, ids[:cores])),
        coreless=np.concatenate((none, ids[cores:]))[coreless.numbers],
        voxels=voxels[ids > 0],
        dropped=np.array(np.count_nonzero(ids == 0)),
    )
    return {}


@njit(nogil=True, cache=True)
def _replace(labels: Labels, ids: Labels) -> None:
    """Put the id in the place of every label that the table knows."""
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if labels[z, y, x] < ids.shape[0]:
                    labels[z, y, x] = ids[labels[z, y, x]]


def _ledger(plan: InstancesPlan) -> Ledger:
    # Entries speak of one output and of blocks of one size.
    return plan.ledger("labels", fingerprint(plan.ids_fingerprint, plan.output.seen_from(plan.work)))
