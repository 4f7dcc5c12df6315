"""Write a phantom of any size as a scan with ground truth, block by block, in bounded memory.

Blocks are single shards, so every shard has one writer. Particles of the list that end up without a voxel (hidden by
others, or outside the field of view) are known only when all blocks are rendered; the truth is therefore renumbered in
a second, cheap pass from a working copy. Writing from a copy rather than in place lets a killed run repeat any block.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, DerivedStep, Found_co, Nothing
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import Phantom
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import ensure_array, open_array, read_box, shard_shape, write_box
from ps3d_core.store.claim import Output, claimed
from ps3d_core.store.content import forget_content, is_as_written, keep_changed, note_content
from ps3d_core.store.layout import Dataset
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, is_whole, open_image
from ps3d_core.store.ownership import (
    MARK,
    WORK_FILES,
    is_own,
    mark_own,
    remove_own,
    work_is_own,
    zarr_attributes,
    zarr_is_own,
)
from ps3d_core.store.room import require_room

VERSION: Final = 1
"""Raise whenever equal parameters give other bytes: phantoms of older code are others then, whole or begun."""


@dataclass(frozen=True, slots=True)
class PhantomPlan:
    """What is written, and where. Small and picklable.

    Attributes:
        params: parameters of the phantom.
        dataset: gets image, truth and an entry in its metadata.
        name: of the scan there.
        spacing: mm per voxel.

    """

    params: PhantomParams
    dataset: Dataset
    name: str
    spacing: float

    @property
    def image(self) -> Location:
        """OME-Zarr image of the grey values."""
        return self.dataset.image(self.name)

    @property
    def truth(self) -> Location:
        """OME-Zarr label image of the particles' ids."""
        return self.dataset.truth(self.name)

    @property
    def work(self) -> Location:
        """Folder of intermediates and ledgers."""
        return self.dataset.root / f".phantom-{self.name}"

    @property
    def note(self) -> Location:
        """File beside the image with its parameters: provenance, and the sign that the phantom is complete."""
        return self.image / "phantom.json"

    def blocks(self) -> BlockGrid:
        """Return the blocks of both steps, single shards."""
        return BlockGrid(self.params.shape, shard_shape(self.params.shape))


def write_phantom(
    params: PhantomParams,
    dataset: Location,
    name: str,
    *,
    spacing: float = 0.01,
    runner: Runner | None = None,
    progress: Progress = SILENT,
) -> int:
    """Write images/NAME.zarr, instance_seg/NAME.zarr and the metadata entry; return the number of particles.

    spacing: mm per voxel; the particle size entered is particle_size_voxels * spacing. Truth ids are dense 1..N, in
    the order of the particles' centres along z. A run that was interrupted goes on where it was, one that is finished
    does nothing. Raise InputError when another scan of this name is there, or anything that ps3d did not make.
    """
    plan = PhantomPlan(params, Dataset(dataset), name, spacing)
    outputs = [Output(plan.image, zarr_is_own), Output(plan.truth, zarr_is_own), Output(plan.work, work_is_own)]
    with claimed("phantom", outputs, say=progress.note):
        return _write(plan, Context(runner or Runner(), progress=progress))


class Rendered(BaseModel):
    """Finding of a phantom that was rendered."""

    model_config = ConfigDict(frozen=True)

    particles: int = Field(description="those that have a voxel")


@dataclass(frozen=True)
class _PhantomStep(BlockStep[Found_co]):
    """Base of the steps of a phantom, which leave what they write to later ones or to the user."""

    plan: PhantomPlan

    kept = False

    @property
    def folder(self) -> Location:
        """Folder of intermediates and ledgers."""
        return self.plan.work

    def grid(self, context: Context) -> BlockGrid:
        """Return single shards: a block takes little memory, and no other decides how much of it is done."""
        return self.plan.blocks()


@dataclass(frozen=True)
class RenderPhantom(_PhantomStep[Rendered]):
    """Step that draws grey values, and a working copy of the labels by the particles' numbers."""

    name, title, found = "phantom", "phantom", Rendered

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the phantom as a whole."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """All parameters of the phantom, and the size of its voxels."""
        return (self.plan.params.model_dump(mode="json"), self.plan.spacing)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the phantom, as image, truth and note of a finished one have it."""
        return fingerprint(self.name, *self.versions, *self.parameters)

    @property
    def volume(self) -> Location:
        """Image of the grey values."""
        return self.plan.image

    @property
    def labels(self) -> Location:
        """Array of the particles' numbers, uint32: a working copy."""
        return self.site(self.plan.blocks()).place / "labels"

    @property
    def table(self) -> Location:
        """File of the ids by the particles' numbers, an .npz with "dense", uint32, 0 for those without a voxel."""
        return self.folder / f"dense-{self.fingerprint[:16]}.npz"

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the image and the working copy, unless they are there."""
        _ensure_image(self.plan, self.volume, self.plan.params.dtype, self.fingerprint, ledger)
        self.plan.note.remove_tree()
        if ensure_array(self.labels, self.plan.params.shape, np.uint32):
            ledger.clear()

    def work(self, block: Block, site: Site) -> Record:
        """Draw one block, and leave the numbers of the particles that are seen there."""
        grey, labels = _prepared(self.plan.params).render(block.core)
        write_box(open_image(self.volume, writable=True), block.core, grey)
        write_box(open_array(self.labels, writable=True), block.core, labels)
        seen = np.unique(labels)
        site.file(block.index).write_arrays(ids=seen[seen > 0])
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> Rendered:
        """Write the table from particle numbers to dense ids; return how many particles have a voxel."""
        present = np.zeros(1, np.bool_)
        for index in range(len(records)):
            ids = site.file(index).read_arrays()["ids"]
            if len(ids):
                present = np.concatenate([present, np.zeros(max(0, int(ids[-1]) + 1 - len(present)), np.bool_)])
                present[ids] = True
        self.table.write_arrays(dense=np.where(present, np.cumsum(present), 0).astype(np.uint32))
        return Rendered(particles=int(present.sum()))


@dataclass(frozen=True)
class NumberTruth(DerivedStep[Nothing], _PhantomStep[Nothing]):
    """Step that writes the truth: the working copy, with ids without gaps."""

    rendered: RenderPhantom

    name, title, found = "truth", "truth", Nothing

    @property
    def volume(self) -> Location:
        """Label image of the particles' ids."""
        return self.plan.truth

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the label image, unless it is there."""
        _ensure_image(self.plan, self.volume, np.uint32, self.rendered.fingerprint, ledger, label=True)

    def work(self, block: Block, site: Site) -> Record:
        """Write the ids of one block."""
        dense = self.rendered.table.read_arrays()["dense"]
        labels = read_box(open_array(self.rendered.labels), block.core)
        write_box(open_image(self.volume, writable=True), block.core, dense[labels])
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> Nothing:
        """Return the empty finding."""
        return Nothing()


def _write(plan: PhantomPlan, context: Context) -> int:
    rendered = RenderPhantom(plan)
    _refuse_others(plan, rendered.fingerprint)
    if (particles := _finished(plan)) is None:
        for place in (plan.image, plan.truth):
            keep_changed(place, context.progress.note)
        # Ids as they are drawn and as they are numbered, and values.
        bytes_per_voxel = 2 * 4 + np.dtype(plan.params.dtype).itemsize
        require_room(plan.dataset.root, bytes_per_voxel * prod(plan.params.shape), "give a smaller <shape>")
        mark_own(plan.work)
        done = Engine(plan.work, (rendered, NumberTruth(plan, rendered))).run_all(context)
        particles = done.of(RenderPhantom).particles
        _finish(plan, rendered, particles)
    remove_own(plan.work, WORK_FILES)
    return particles


def _refuse_others(plan: PhantomPlan, mark: str) -> None:
    for place, what in ((plan.image, "a scan is"), (plan.truth, "labels are")):
        if place.exists() and not is_own(place) and _made_for(place) != mark:
            raise InputError(f"{place}: {what} already there", "remove it", "give another <name>")


def _ensure_image(
    plan: PhantomPlan, place: Location, dtype: npt.DTypeLike, mark: str, ledger: Ledger, *, label: bool = False
) -> None:
    """Have an image of this phantom at `place`, in the making; one that is not there yet has no finished blocks."""
    if not (is_whole(place) and _made_for(place) == mark):
        ledger.clear()
        about = {MARK: {"phantom": mark}}
        options: dict[str, Any] = {"spacing": plan.spacing, "name": plan.name, "overwrite": True, "attributes": about}
        create_image(place, plan.params.shape, dtype, label=label, **options)
    elif ensure_array(place / "0", plan.params.shape, dtype):
        ledger.clear()
    forget_content(place)


def _made_for(place: Location) -> object:
    """Fingerprint of the phantom that a Zarr belongs to; None for any other."""
    about = zarr_attributes(place).get(MARK)
    return about.get("phantom") if isinstance(about, dict) else None


def _finish(plan: PhantomPlan, rendered: RenderPhantom, particles: int) -> None:
    plan.dataset.add_scan(plan.name, plan.spacing, plan.params.particle_size_voxels * plan.spacing)
    parameters, _ = rendered.parameters
    (version,) = rendered.versions
    plan.note.write_json(
        {"fingerprint": rendered.fingerprint, "particles": particles, "parameters": parameters, "version": version}
    )
    for place in (plan.image, plan.truth):
        note_content(place)


def _finished(plan: PhantomPlan) -> int | None:
    """Return the number of particles of this phantom when it is there, as a whole, else None."""
    if not (is_as_written(plan.image) and is_as_written(plan.truth) and plan.name in plan.dataset.read_metadata()):
        return None
    return int(plan.note.read_json()["particles"])  # a part of what is as it was written


_preparing = threading.Lock()


def _prepared(params: PhantomParams) -> Phantom:
    """The phantom with its particles arranged: once per process, however many threads ask for it."""
    with _preparing:
        return _arranged(params)


@lru_cache(maxsize=1)
def _arranged(params: PhantomParams) -> Phantom:
    phantom = Phantom(params)
    _ = phantom.scene
    return phantom
