"""Parameters of every stage: frozen, validated once, quoted in run.json."""

from __future__ import annotations

import os
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ps3d_core.free_memory import free_bytes
from ps3d_core.memory_model import LEADER_BYTES, torch_bytes
from ps3d_core.network.normalisation import Normalisation

GIB = 2**30
MAX_GREY: Final = 1e30
"""Of grey values; single precision holds their squares no more."""
MeanAndStd = tuple[
    Annotated[float, Field(allow_inf_nan=False, ge=-MAX_GREY, le=MAX_GREY)],
    Annotated[float, Field(allow_inf_nan=False, gt=0, le=MAX_GREY)],
]


def _spelt(pattern: str, words: str) -> AfterValidator:
    """Require a text that is like `pattern` as a whole; `words` say what that is to somebody who gave another one."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {words}; correct it")
        return text

    return AfterValidator(check)


_ClassName = Annotated[str, _spelt(r"[A-Za-z_]\w{0,99}", "the name of a class: letters, digits and _")]
_DatasetName = Annotated[
    str, _spelt(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "1 to 64 letters, digits, - or _, the first no - or _")
]
_Checksum = Annotated[str, _spelt(r"[0-9a-fA-F]{64}", "64 hexadecimal digits, as sha256sum prints them")]
_Configuration = Annotated[str, _spelt(r"3d_\w{1,60}", "a 3-D configuration, like 3d_fullres")]


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictParams(_Params):
    """Parameters of applying the network."""

    folds: tuple[int, ...] | None = Field(default=None, description="folds of the ensemble; all when absent")
    mirror: bool = Field(
        default=True,
        description="mean over the 8 mirrorings (test-time augmentation); without it, 8 times faster and slightly "
        "less accurate",
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=256, description="patches per forward pass; what suits the device when absent"
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        default="auto", description="where the network runs; auto takes a GPU when there is one"
    )
    target_particle_size: float | None = Field(
        default=None, gt=1, le=512, description="diameter of the mean particle on the network grid, voxels"
    )
    zscore: MeanAndStd | None = Field(
        default=None, description="mean and standard deviation of grey values, instead of the bundle's normalisation"
    )
    allow_absurd: bool = Field(default=False, description="run even when a length of the scan looks mistyped")


class InstancesParams(_Params):
    """Parameters of turning border-core labels into particles."""

    min_rel_particle_size: float = Field(
        default=0.005, ge=0, le=1, description="particles with fewer voxels than this share of the mean are dropped"
    )


class ZScoreParams(_Params):
    """Parameters of finding mean and standard deviation of a dataset."""

    samples: int | None = Field(
        default=None, ge=1000, le=10**9, description="voxels drawn at random; every voxel is read when absent"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the draw; the same seed draws the same voxels")


class PreparationParams(_Params):
    """Parameters of turning annotated scans into training data. Defaults are those of ParticleSeg3D."""

    target_particle_size: float = Field(
        default=60, gt=1, le=512, description="diameter of the mean particle on the network grid, voxels"
    )
    border_thickness: float = Field(default=3, ge=1, le=15, description="border class of a particle, voxels")
    zscore: MeanAndStd | None = Field(
        default=None, description="mean and standard deviation of grey values; the dataset's zscore.json when absent"
    )
    per_scan: bool = Field(default=False, description="grey values are measured on each scan, instead of a z-score")
    dataset_id: int = Field(default=500, ge=1, le=999, description="nnU-Net's number of the dataset")
    dataset_name: _DatasetName = Field(
        default="ParticleSeg3D",
        description="nnU-Net's name of the dataset: letters, digits, - and _",
    )
    nnunet_v1: bool = Field(default=False, description="lay the folder out for nnU-Net 1")
    instances: bool = Field(default=False, description="also write instance labels and boxes of particles")
    nominal_spacing: float = Field(
        default=0.1, gt=0, lt=1000, description="mm per voxel in the headers, the same for all scans"
    )
    allow_absurd: bool = Field(default=False, description="go on even when a length of a scan looks mistyped")


class ImportParams(_Params):
    """Facts that a folder of nnU-Net does not say about its model, and what to take from it."""

    name: str | None = Field(default=None, min_length=1, max_length=200, description="the folder's name when absent")
    target_particle_size: float = Field(
        default=60, ge=2, le=500, description="mean particle diameter in training, voxels; ParticleSeg3D's default"
    )
    border_thickness: float = Field(
        default=3, gt=0, le=50, description="border class in training, voxels; ParticleSeg3D's default"
    )
    zscore: MeanAndStd | None = Field(
        default=None, description="mean and standard deviation of grey values, instead of what the plan says"
    )
    per_scan: bool = Field(default=False, description="mean and standard deviation of each scan, likewise")
    normalisation: Normalisation | None = Field(default=None, description="of grey values, where it is known whole")
    folds: tuple[int, ...] | None = Field(default=None, description="folds to take; all when absent")
    checkpoint: Literal["best", "final"] | None = Field(default=None, description="which weights of each fold")
    configuration: str | None = Field(default=None, description="name in the plan of nnU-Net 2")
    sha256: _Checksum | None = Field(default=None, description="checksum of an archive")
    half_precision: bool = Field(default=False, description="store weights as float16")


class TrainParams(_Params):
    """Parameters of training with nnU-Net 2. What is absent is for nnU-Net, or the trainer named, to decide."""

    start_from: str | None = Field(
        default=None,
        min_length=1,
        description="model whose network and weights the training starts with: bundled, or folder or URL of a bundle",
    )
    folds: tuple[int, ...] | Literal["all"] | None = Field(
        default=None, description='of the cross-validation, every one when absent; "all" trains on all cases'
    )
    trainer: _ClassName = Field(default="nnUNetTrainer", description="nnU-Net's class of that name")
    planner: _ClassName = Field(default="ExperimentPlanner", description="nnU-Net's class of that name")
    configuration: _Configuration = Field(default="3d_fullres", description="name in nnU-Net's plan")
    epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="rounds of training; 1000 is nnU-Net's choice"
    )
    iterations: int | None = Field(default=None, ge=1, le=100_000, description="steps per epoch")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="at the start, from where it falls to 0; 0.01 is nnU-Net's choice"
    )
    border_weight: float | None = Field(
        default=None, gt=0, le=100, description="of a border voxel in the cross-entropy, relative to the others"
    )
    patch: tuple[int, int, int] | None = Field(default=None, description="largest patch, (z, y, x) voxels")
    batch_size: int | None = Field(default=None, ge=1, le=256, description="patches per step")
    features: int | None = Field(default=None, ge=1, le=320, description="feature maps of the finest stage")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of weights and, without helper processes, of patches")
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(default="auto", description="where the network is trained")
    mirror: bool = Field(default=True, description="validate with the mean over the 8 mirrorings")
    name: str | None = Field(default=None, min_length=1, max_length=200, description="of the model")
    half_precision: bool = Field(default=False, description="store weights as float16")

    @field_validator("patch")
    @classmethod
    def _patch_in_bounds(cls, patch: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if patch is not None and not all(8 <= side <= 512 for side in patch):
            raise ValueError("sides must be 8 to 512 voxels")
        return patch

    @field_validator("folds")
    @classmethod
    def _folds_in_bounds(cls, folds: tuple[int, ...] | str | None) -> tuple[int, ...] | str | None:
        if isinstance(folds, tuple) and not (folds and all(0 <= fold <= 99 for fold in folds)):
            raise ValueError("folds are numbers from 0")
        return tuple(sorted(set(folds))) if isinstance(folds, tuple) else folds


class RetentionParams(_Params):
    """Rules that say which intermediates may go."""

    older_than_days: float = Field(
        default=30, ge=0, le=3650, description="days since the last file of a work folder was written"
    )
    states: tuple[Literal["finished", "abandoned"], ...] = Field(
        default=("finished", "abandoned"),
        description="finished: there is a whole result; abandoned: there is none, and a later run would start over",
    )


class InboxParams(_Params):
    """Rules that say when scans are taken from an inbox, and what becomes of them."""

    settle_seconds: float = Field(
        default=60,
        ge=0,
        le=86400,
        description="a scan that does not say how many slices it has is taken when nothing changed for so long; what "
        "is wrong is judged only then, too",
    )
    leave_sources: bool = Field(
        default=False, description="leave processed scans in the inbox instead of moving them to done/"
    )
    max_scans: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="scans that one poll takes at most; all that are complete when absent",
    )
    attempts: int = Field(
        default=3, ge=1, le=20, description="a scan whose worker died or broke so often is moved to failed/"
    )
    pool: Literal["auto", "cpu", "gpu"] = Field(
        default="auto",
        description="work pool for scans that name none; auto is gpu while a worker of that pool is online, else cpu",
    )
    waiting_hours: float = Field(
        default=4, gt=0, le=8760, description="say (event scan.waiting) when something waits in the inbox for so long"
    )


class Resources(_Params):
    """Workers, memory and runner of a run. Never part of a fingerprint: results do not depend on them."""

    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=4096, description="blocks worked on at once; all cores"
    )
    memory_gib: float = Field(
        default_factory=lambda: max(1.0, 0.6 * free_bytes() / GIB),
        gt=0.1,
        le=65536,
        description="budget in GiB that is planned for and kept; 60 % of what is free",
    )
    runner: Literal["threads", "processes", "dask"] = Field(
        default="threads", description="where blocks are worked on; the results are the same"
    )
    dask_scheduler: str | None = Field(
        default=None, description="address for runner dask, like tcp://host:8786; a cluster of its own when absent"
    )

    @field_validator("dask_scheduler")
    @classmethod
    def _belongs_to_dask(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None and info.data.get("runner") != "dask":
            raise ValueError("no other runner than dask has a scheduler; choose runner dask, or leave it out")
        return address

    @property
    def memory_bytes(self) -> int:
        """Budget in bytes for work on blocks, without what the process that leads worker processes takes."""
        budget = int(self.memory_gib * GIB)
        if self.runner == "threads" or self.dask_scheduler is not None:
            return budget
        return budget - LEADER_BYTES - torch_bytes()


class SegmentParams(_Params):
    """All parameters that decide the result of a segmentation."""

    predict: PredictParams = Field(default=PredictParams(), description="how the network is applied")
    instances: InstancesParams = Field(default=InstancesParams(), description="how border-core labels become particles")
