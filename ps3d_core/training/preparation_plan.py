"""What preparing training data will do and cost, worked out before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np
from pydantic import ValidationError

from ps3d_core.duration import duration_text
from ps3d_core.engine.block_size import largest_block
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.memory_model import BLOCK_WORKER_BYTES, PREPARATION_BYTES, PREPARATION_SOURCE_BYTES
from ps3d_core.network.normalisation import Normalisation, PerScan, ZScore
from ps3d_core.params import GIB, PreparationParams, Resources
from ps3d_core.scan.slabs import deepest_slab
from ps3d_core.scan.zscore import read_zscore
from ps3d_core.store.arrays import SHARD
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.room import require_room
from ps3d_core.training.checks import AnnotatedScan, annotated_scans
from ps3d_core.training.nnunet_dataset import TrainingFolder
from ps3d_core.training.preparation_record import CaseRecord, Layout, PreparationRecord

# float32 image, uint8 classes; the instances on request.
_FILE_BYTES: Final = 4 + 1
_INSTANCE_BYTES: Final = 4
# Network voxels per second of one core, image and labels, from reading to the compressed file; measured.
_VOXELS_PER_SECOND: Final = 3.5e6


@dataclass(frozen=True, slots=True)
class PreparationJob:
    """Job of making training data of annotated scans of a dataset."""

    dataset: Dataset
    output: Location
    names: tuple[str, ...] | None = None
    """Scans to use; all when None."""
    params: PreparationParams = field(default_factory=PreparationParams)
    resources: Resources = field(default_factory=Resources)

    @property
    def folder(self) -> TrainingFolder:
        """Folder of the training data."""
        params = self.params
        layout: Layout = "nnunet-v1" if params.nnunet_v1 else "nnunet-v2"
        return TrainingFolder(self.output, params.dataset_id, params.dataset_name, layout)


@dataclass(frozen=True, slots=True)
class CasePlan:
    """Plan of one scan: its grids, its blocks and what it is made from."""

    scan: AnnotatedScan
    block_shape: Shape
    halo: int
    memory_bytes: int
    """Modelled peak of one worker."""
    image_identity: str
    labels_identity: str

    @property
    def name(self) -> str:
        """Name of the scan and of its files."""
        return self.scan.name

    @property
    def network_shape(self) -> Shape:
        """Shape (z, y, x) of the network grid, on which the files are."""
        return self.scan.scale.network_shape

    @property
    def blocks(self) -> BlockGrid:
        """Blocks in which image and labels are made."""
        return BlockGrid(self.network_shape, self.block_shape, self.halo)


@dataclass(frozen=True, slots=True)
class PreparationPlan:
    """Checked job of making training data, with all sizes worked out."""

    job: PreparationJob
    normalisation: Normalisation
    cases: tuple[CasePlan, ...]
    dropped: tuple[str, ...]
    """Cases of an earlier run in the same folder that are no longer asked for."""

    @property
    def folder(self) -> TrainingFolder:
        """Folder of the training data."""
        return self.job.folder

    @property
    def voxels(self) -> int:
        """Number of voxels of all network grids."""
        return sum(prod(case.network_shape) for case in self.cases)

    @property
    def disk_bytes(self) -> int:
        """Rough peak in bytes of what is written, uncompressed: all files, and the largest scan in the work folder."""
        per_voxel = _FILE_BYTES + (_INSTANCE_BYTES if self.job.params.instances else 0)
        return per_voxel * (self.voxels + max(prod(case.network_shape) for case in self.cases))

    def record(self, cases: Sequence[CaseRecord]) -> PreparationRecord:
        """Return the content of ps3d.json when these are the finished cases."""
        params = self.job.params
        return PreparationRecord(
            layout=self.folder.layout,
            target_particle_size=params.target_particle_size,
            border_thickness=params.border_thickness,
            normalisation=self.normalisation,
            nominal_spacing=params.nominal_spacing,
            instances=params.instances,
            cases={case.scan: case for case in cases},
        )

    def describe(self) -> list[str]:
        """Return the plan in lines for a person."""
        params = self.job.params
        lines = [_line(case) for case in self.cases]
        growth = self.voxels / sum(prod(case.scan.scale.scan_shape) for case in self.cases)
        worker = max(case.memory_bytes for case in self.cases)
        seconds = max(1, round(self.voxels / _VOXELS_PER_SECOND))
        return [
            *lines,
            f"targets    mean particle {params.target_particle_size:g} voxels, border {params.border_thickness:g} "
            f"voxels; grey values {_rule(self.normalisation)}",
            f"cost       {self.voxels / 1e6:.1f} million voxels on the network grid ({growth:.2f} per scan voxel); up "
            f"to {self.disk_bytes / GIB:.2f} GiB on the store; about {worker * self._workers / GIB:.1f} GiB of memory, "
            f"budget {self.job.resources.memory_gib:.1f} GiB; about {duration_text(seconds)} on one core",
            *([f"removes    {', '.join(self.dropped)}: no longer asked for"] if self.dropped else []),
        ]

    @property
    def _workers(self) -> int:
        return min(self.job.resources.workers, max(len(case.blocks) for case in self.cases))


def plan_preparation(job: PreparationJob) -> PreparationPlan:
    """Check a job and work out its sizes; read metadata and no voxel.

    Raise `InputError`, which names all scans that cannot be used and why, a missing z-score, or a folder that holds
    something else.
    """
    scans = annotated_scans(
        job.dataset,
        job.names,
        target_particle_size=job.params.target_particle_size,
        allow_absurd=job.params.allow_absurd,
    )
    normalisation = _normalisation(job)
    cases = tuple(_case(job, scan) for scan in scans)
    earlier = _earlier_cases(job.folder)
    _check_folder(job.folder, earlier)
    plan = PreparationPlan(job, normalisation, cases, tuple(sorted(earlier - {case.name for case in cases})))
    if not job.folder.root.exists():  # an earlier run has written its part already
        require_room(job.output, plan.disk_bytes, "give another <output>", "a smaller <target_particle_size>")
    return plan


def _normalisation(job: PreparationJob) -> Normalisation:
    if job.params.per_scan:
        if job.params.zscore is not None:
            raise InputError("z-score and per scan: grey values are normalised one way only; give one of the two")
        return PerScan()
    if job.params.zscore is not None:
        mean, std = job.params.zscore
        return ZScore(mean=mean, std=std)
    return read_zscore(job.dataset.root)


def _case(job: PreparationJob, scan: AnnotatedScan) -> CasePlan:
    params, resources, shape = job.params, job.resources, scan.scale.network_shape
    source = max(np.dtype(scan.image.dtype).itemsize, np.dtype(scan.labels.dtype).itemsize) + PREPARATION_SOURCE_BYTES
    bytes_per_voxel = PREPARATION_BYTES + source / scan.scale.growth
    halo = int(params.border_thickness)
    try:
        block_shape = largest_block(
            shape,
            bytes_per_voxel=bytes_per_voxel,
            memory_bytes=resources.memory_bytes,
            workers=resources.workers,
            halo=halo,
        )
        deepest_slab(shape, np.float32, resources.memory_bytes, most=SHARD)
    except InputError as error:
        raise error.about(f"scan {scan.name!r}") from error
    return CasePlan(
        scan,
        block_shape,
        halo,
        int(BLOCK_WORKER_BYTES + bytes_per_voxel * prod(side + 2 * halo for side in block_shape)),
        content_identity(scan.image.place),
        content_identity(scan.labels.place),
    )


def _earlier_cases(folder: TrainingFolder) -> set[str]:
    """Cases that an earlier run, finished or not, made in the folder."""
    found = set(folder.work.children())
    if folder.record.exists():
        try:
            found |= set(PreparationRecord.model_validate(folder.record.read_json()).cases)
        except (InputError, ValidationError) as error:
            raise InputError(
                f"{folder.record}: not a record of training data; remove the folder {folder.root}", "give another <id>"
            ) from error
    return found


def _check_folder(folder: TrainingFolder, earlier: set[str]) -> None:
    """Raise `InputError` when somebody else's files lie in the folder, or nnU-Net would confuse it with another."""
    same = [name for name in folder.output.children() if name.startswith(folder.prefix) and name != folder.full_name]
    if same:
        raise InputError(
            f"{folder.output}: {same[0]} is there, and nnU-Net tells datasets apart by their number",
            "give another <id>",
        )
    known = {file for case in earlier for file in folder.files(case)}
    for place in ("imagesTr", "labelsTr"):
        strange = [
            name
            for name in (folder.root / place).children()
            if not name.startswith(".") and folder.root / place / name not in known
        ]
        if strange:
            raise InputError(
                f"{folder.root / place / strange[0]}: not made by ps3d prepare-training",
                "give another <id>",
                "another <output>",
            )


def _rule(normalisation: Normalisation) -> str:
    if isinstance(normalisation, ZScore):
        return f"minus {normalisation.mean:g}, divided by {normalisation.std:g}"
    return f"measured on each scan ({normalisation.method})"


def _line(case: CasePlan) -> str:
    scan, scale = case.scan, case.scan.scale
    return (
        f"scan       {scan.name}: {shape_text(scale.scan_shape)} voxels, {scan.image.dtype}, labels "
        f"{scan.labels.dtype}; particles {scan.info.particle_size_mm / scan.info.mean_spacing:.1f} voxels, zoom "
        f"{scale.zoom_text}, network grid {shape_text(case.network_shape)}"
    )
