"""One annotated scan on the network grid: image, border-core classes, and on request instances and their boxes.

    scan    ->  blocks: resample, normalise                ->  work/image      ->  imagesTr/CASE_0000.nii.gz
    labels  ->  blocks with halo: vote, border-core, boxes ->  work/classes    ->  labelsTr/CASE.nii.gz
                                                               work/instances  ->  labelsTr_instance/CASE.nii.gz

A NIfTI file is one stream and cannot be written in blocks, so blocks meet in working arrays, in any order and on any
number of workers, and are streamed from there, slab by slab. A block votes on its halo again instead of waiting for its
neighbours: 3 voxels around hundreds cost little. Votes give ties to the higher label, which is what ParticleSeg3D does
and its networks have learned from.

The two parts are finished separately: a ledger in the work folder, written after the files, says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.border_core.vote import LabelVote
from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Shape
from ps3d_core.inference.sample import NetworkView, scan_intensity
from ps3d_core.network.intensity import Intensity
from ps3d_core.params import ExportParams
from ps3d_core.particles.label_index import as_labels
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.export import export
from ps3d_core.store.arrays import ensure_array, open_array, read_box, write_box
from ps3d_core.store.ledger import Ledger, Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.ownership import WORK_FILES, remove_own
from ps3d_core.training.checks import Volume
from ps3d_core.training.particle_boxes import ParticleBoxes, block_boxes, joined
from ps3d_core.training.preparation_plan import CasePlan, PreparationPlan
from ps3d_core.training.preparation_record import CaseRecord
from ps3d_core.training.targets import border_core

PARTS: Final = ("image", "labels")


def prepare_scan(plan: PreparationPlan, case: CasePlan, progress: Progress = SILENT) -> CaseRecord:
    """Make the files of one scan, as far as they are not there; return what ps3d.json will say of it.

    An interrupted call goes on where it was. Raise `InputError` for voxels that cannot be used: labels that are
    negative or beyond 32 bits, labels without a particle, grey values that are not numbers.
    """
    image = _once(plan, case, "image", lambda: _prepare_image(plan, case, progress))
    labels = _once(plan, case, "labels", lambda: _prepare_labels(plan, case, progress))
    written = part_ledger(plan, case.name, "image", case.image_fingerprint).written()
    written |= part_ledger(plan, case.name, "labels", case.labels_fingerprint).written()
    files = {Location(url).seen_from(plan.folder.root): digest for url, digest in written.items()}
    return case.record(Intensity(*image["intensity"]), labels["particles"], files)


def part_ledger(plan: PreparationPlan, case: str, part: str, mark: str) -> Ledger:
    """Return the ledger in the work folder that says whether a part of a case is finished.

    `mark` is the fingerprint of everything that decides the part.
    """
    return Ledger(plan.folder.work / case, part, mark)


def _once(plan: PreparationPlan, case: CasePlan, part: str, compute: Callable[[], Record]) -> Record:
    """The kept record of a finished part whose files are as they were written, or compute and keep it."""
    files = plan.expected_files(case.name)
    files = files[:1] if part == "image" else files[1:]
    record = part_ledger(plan, case.name, part, getattr(case, f"{part}_fingerprint")).once(compute, files)
    remove_own(_arrays(plan, case, part), WORK_FILES)
    return record


def _arrays(plan: PreparationPlan, case: CasePlan, part: str) -> Location:
    """Working arrays and ledger of a part."""
    return plan.folder.work / case.name / part


def _prepare_image(plan: PreparationPlan, case: CasePlan, progress: Progress) -> Record:
    work = _arrays(plan, case, "image")
    source = _readable(case.scan.image, work, plan, progress)
    view = NetworkView(open_image(source), case.network_shape)
    intensity = scan_intensity(view, plan.normalisation)
    array = work / f"{case.image_fingerprint[:16]}.zarr"
    evaluate = _ImageBlock(case.name, source, array, case.network_shape, intensity)
    _run_blocks(f"image {case.name}", plan, case, work, {array: "float32"}, case.image_fingerprint, evaluate, progress)
    _write(plan, array, plan.folder.image(case.name), progress)
    return {"intensity": list(intensity)}


def _prepare_labels(plan: PreparationPlan, case: CasePlan, progress: Progress) -> Record:
    work, folder = _arrays(plan, case, "labels"), plan.folder
    source = _readable(case.scan.labels, work, plan, progress)
    mark = case.labels_fingerprint[:16]
    classes, instances = work / f"{mark}-classes.zarr", work / f"{mark}-instances.zarr"
    evaluate = _LabelBlock(
        case.name,
        source,
        classes,
        instances if plan.job.params.instances else None,
        work / f"{mark}-boxes" / fingerprint(case.block_shape)[:16],
        case.scan.scale.scan_shape,
        case.network_shape,
        plan.job.params.border_thickness,
    )
    arrays = {classes: "uint8", **({instances: "uint32"} if plan.job.params.instances else {})}
    _run_blocks(f"labels {case.name}", plan, case, work, arrays, case.labels_fingerprint, evaluate, progress)
    boxes = joined(evaluate.read_boxes(block.index) for block in case.blocks)
    if not len(boxes.ids):
        raise InputError(
            f"scan {case.name!r}: no particle in {case.scan.labels.place} that is left on the network grid "
            f"{case.network_shape}",
            "annotate the scan",
            "leave it out with <name>",
        )
    _write(plan, classes, folder.classes(case.name), progress)
    if plan.job.params.instances:
        _write(plan, instances, folder.instances(case.name), progress)
        folder.boxes(case.name).write_json(boxes.inside(case.network_shape).to_json())
    else:  # of an earlier run; other labels by now
        folder.instances(case.name).remove_tree()
        folder.boxes(case.name).remove_tree()
    return {"particles": len(boxes.ids)}


def _readable(volume: Volume, work: Location, plan: PreparationPlan, progress: Progress) -> Location:
    """Return the volume as something of which any box can be read: itself, or a copy of what comes as a stream."""
    if volume.is_zarr:
        return volume.place
    return as_image(volume.place, work, memory_bytes=plan.job.resources.memory_bytes, progress=progress)


def _run_blocks(
    title: str,
    plan: PreparationPlan,
    case: CasePlan,
    work: Location,
    arrays: Mapping[Location, npt.DTypeLike],
    mark: str,
    evaluate: Callable[[Block], Record],
    progress: Progress,
) -> None:
    ledger = Ledger(work, "blocks", fingerprint(mark, case.block_shape))
    for array, dtype in arrays.items():
        if ensure_array(array, case.network_shape, dtype):
            ledger.clear()
    runner = Runner.of(plan.job.resources)
    run_blocks(title, list(case.blocks), evaluate, ledger=ledger, runner=runner, progress=progress)


def _write(plan: PreparationPlan, array: Location, file: Location, progress: Progress) -> None:
    """The working array as NIfTI, whole or not at all."""
    export(
        array,
        file,
        ExportParams(format="nifti", spacing=plan.job.params.nominal_spacing, overwrite=True),
        memory_bytes=plan.job.resources.memory_bytes,
        progress=progress,
        title=f"write {file.parent.name}/{file.name}",
    )


@dataclass(frozen=True, slots=True)
class _ImageBlock:
    scan: str
    source: Location
    target: Location
    network_shape: Shape
    intensity: Intensity

    def __call__(self, block: Block) -> Record:
        values = NetworkView(open_image(self.source), self.network_shape).read(block.core)
        values = self.intensity.normalise(values)
        if not np.isfinite(values).all():
            raise InputError(
                f"scan {self.scan!r}, network voxels {block.core.start} to {block.core.stop}: grey values that are "
                "infinite, not a number, or too large; replace them, for example with the value of air"
            )
        write_box(open_array(self.target, writable=True), block.core, values)
        return {}


@dataclass(frozen=True, slots=True)
class _LabelBlock:
    scan: str
    source: Location
    classes: Location
    instances: Location | None
    boxes: Location
    scan_shape: Shape
    network_shape: Shape
    thickness: float

    def __call__(self, block: Block) -> Record:
        inner = block.core.relative_to(block.outer).slices
        labels = self._vote(block)
        core = np.ascontiguousarray(labels[inner])
        write_box(open_array(self.classes, writable=True), block.core, border_core(labels, self.thickness)[inner])
        if self.instances is not None:
            write_box(open_array(self.instances, writable=True), block.core, core)
        (self.boxes / f"{block.index}.npz").write_arrays(**block_boxes(core, block.core.start)._asdict())
        return {}

    def read_boxes(self, index: int) -> ParticleBoxes:
        return ParticleBoxes(**(self.boxes / f"{index}.npz").read_arrays())

    def _vote(self, block: Block) -> npt.NDArray[np.uint32]:
        vote = LabelVote(self.scan_shape, self.network_shape, ties="higher")
        box = vote.source_box(block.outer)
        stored: npt.NDArray[Any] = read_box(open_image(self.source), box)
        try:
            labels = as_labels(stored, "labels")
        except InputError as error:
            raise error.about(f"scan {self.scan!r}, voxels {box.start} to {box.stop}") from error
        return vote(np.ascontiguousarray(labels), block.outer)
