"""Write a phantom of any size as a scan with ground truth, block by block, in bounded memory.

Blocks are single shards, so every shard has one writer. Particles of the list that end up without a voxel (hidden by
others, or outside the field of view) are known only when all blocks are rendered; the truth is therefore renumbered in
a second, cheap pass from a working copy. Writing from a copy rather than in place lets a killed run repeat any block.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Final

import numpy as np

from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block, BlockGrid
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import Phantom
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.arrays import create_array, open_array, read_box, shard_shape, write_box
from ps3d_core.store.claim import Output, claimed
from ps3d_core.store.content import keep_changed, note_content, was_changed
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

VERSION: Final = 1  # raise whenever equal parameters give other bytes


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
    target = Dataset(dataset)
    image, truth, work = target.image(name), target.truth(name), dataset / f".phantom-{name}"
    outputs = [Output(image, zarr_is_own), Output(truth, zarr_is_own), Output(work, work_is_own)]
    with claimed("phantom", outputs, say=progress.note):
        return _write(params, target, name, spacing, work, runner, progress)


def _write(
    params: PhantomParams,
    target: Dataset,
    name: str,
    spacing: float,
    work: Location,
    runner: Runner | None,
    progress: Progress,
) -> int:
    mark = fingerprint("phantom", VERSION, params.model_dump(mode="json"), spacing)
    image, truth = target.image(name), target.truth(name)
    done = work / "phantom.json"
    begun = _ours(done, mark)
    for place, what in ((image, "a scan is"), (truth, "labels are")):
        if place.exists() and not is_own(place) and _made_for(place) != mark:
            raise InputError(f"{place}: {what} already there", "remove it", "give another <name>")
    if not begun:
        whole = not (was_changed(image) or was_changed(truth)) and truth.exists() and name in target.read_metadata()
        if whole and (particles := _finished(image, mark)) is not None:
            return particles
        for place in (image, truth):
            keep_changed(place, progress.note)
    bytes_per_voxel = 2 * 4 + np.dtype(params.dtype).itemsize  # ids as they are drawn and as they are numbered, values
    require_room(target.root, bytes_per_voxel * prod(params.shape), "give a smaller <shape>")
    grid = BlockGrid(params.shape, shard_shape(params.shape))
    if not begun:
        remove_own(work, WORK_FILES)
        mark_own(work)
        create_array(work / "labels.zarr", params.shape, np.uint32)
        done.write_json({"fingerprint": mark})
    about = {MARK: {"phantom": mark}}
    options: dict[str, Any] = {"spacing": spacing, "name": name, "overwrite": True, "attributes": about}
    if not (begun and is_whole(image)):
        create_image(image, params.shape, params.dtype, **options)
    if not (begun and is_whole(truth)):
        create_image(truth, params.shape, np.uint32, label=True, **options)

    render = _RenderBlock(params, image, work)
    ledger = Ledger(work, "phantom", mark)
    run_blocks("phantom", list(grid), render, ledger=ledger, runner=runner, progress=progress)
    particles = _number(grid, work)
    ledger = Ledger(work, "truth", mark)
    run_blocks("truth", list(grid), _NumberBlock(truth, work), ledger=ledger, runner=runner, progress=progress)
    target.add_scan(name, spacing, params.particle_size_voxels * spacing)
    _finish(image, mark, params, particles)
    for place in (image, truth):
        note_content(place)
    remove_own(work, WORK_FILES)
    return particles


@dataclass(frozen=True, slots=True)
class _RenderBlock:
    params: PhantomParams
    image: Location
    work: Location

    def __call__(self, block: Block) -> Record:
        grey, labels = _prepared(self.params).render(block.core)
        write_box(open_image(self.image, writable=True), block.core, grey)
        write_box(open_array(self.work / "labels.zarr", writable=True), block.core, labels)
        seen = np.unique(labels)
        (self.work / f"seen-{block.index}.npz").write_arrays(ids=seen[seen > 0])
        return {}


@dataclass(frozen=True, slots=True)
class _NumberBlock:
    truth: Location
    work: Location

    def __call__(self, block: Block) -> Record:
        dense = (self.work / "dense.npz").read_arrays()["dense"]
        labels = read_box(open_array(self.work / "labels.zarr"), block.core)
        write_box(open_image(self.truth, writable=True), block.core, dense[labels])
        return {}


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


def _number(grid: BlockGrid, work: Location) -> int:
    """Store the table from particle numbers to dense ids; return the number of particles that have a voxel."""
    present = np.zeros(1, np.bool_)
    for block in grid:
        ids = (work / f"seen-{block.index}.npz").read_arrays()["ids"]
        if len(ids):
            present = np.concatenate([present, np.zeros(max(0, int(ids[-1]) + 1 - len(present)), np.bool_)])
            present[ids] = True
    dense = np.where(present, np.cumsum(present), 0).astype(np.uint32)
    (work / "dense.npz").write_arrays(dense=dense)
    return int(present.sum())


def _made_for(place: Location) -> object:
    """Fingerprint of the phantom that a Zarr belongs to; None for any other."""
    about = zarr_attributes(place).get(MARK)
    return about.get("phantom") if isinstance(about, dict) else None


def _note(image: Location) -> Location:
    return image / "phantom.json"


def _finish(image: Location, mark: str, params: PhantomParams, particles: int) -> None:
    """Leave the parameters beside the image: provenance, and the sign that the phantom is complete."""
    _note(image).write_json(
        {"fingerprint": mark, "particles": particles, "parameters": params.model_dump(mode="json"), "version": VERSION}
    )


def _finished(image: Location, mark: str) -> int | None:
    if not _ours(_note(image), mark):
        return None
    return int(_note(image).read_json()["particles"])


def _ours(note: Location, mark: str) -> bool:
    if not note.exists():
        return False
    content = note.read_json()
    return isinstance(content, dict) and content.get("fingerprint") == mark
