"""Parameters of every stage: frozen, validated once, quoted in run.json."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ps3d_core.free_memory import free_bytes
from ps3d_core.geometry.spacing import per_axis
from ps3d_core.memory_model import LEADER_BYTES, torch_bytes
from ps3d_core.network.normalisation import Normalisation
from ps3d_core.phase_params import PhaseParams
from ps3d_core.quality import EVERY, LEVELS, PLAIN, LevelName, Quality
from ps3d_core.quantities import (
    BatchSize,
    BorderThickness,
    Certainty,
    CropText,
    Device,
    Engine,
    Folds,
    GreatestLength,
    GreatestNeck,
    MeanAndStd,
    ModelName,
    NanText,
    Precision,
    RawLayout,
    RegionOfInterest,
    SmallestCore,
    StatedPolarity,
    StatedSize,
    TargetParticleSize,
    Unit,
    VoxelEdge,
    VoxelEdges,
)
from ps3d_core.sample_data import SampleFields
from ps3d_core.size_params import SizeParams

GIB: Final = 2**30


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


_PatchSide = Annotated[int, Field(ge=8, le=512)]


def _cube(sides: Any) -> Any:
    """Three sides of one for all axes."""
    if isinstance(sides, tuple | list) and len(sides) not in (1, 3):
        raise ValueError(f"{len(sides)} sides; give one side for all axes, or three, z y x")
    return tuple(sides) * 3 if isinstance(sides, tuple | list) and len(sides) == 1 else sides


def _each_axis(edge: Any) -> Any:
    """Three edges of one for all axes."""
    return (edge, edge, edge) if isinstance(edge, float | int) else edge


def _all_alone(folds: Any) -> Any:
    """A list of folds as it is written on a command line, where the word all stands for itself."""
    if not isinstance(folds, tuple | list) or "all" not in folds:
        return folds
    if len(folds) > 1:
        raise ValueError("all is one model of all cases; give either numbers or all")
    return "all"


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictParams(_Params):
    """Parameters of applying the network."""

    folds: Folds | None = Field(default=None, description="folds of the ensemble; all when left out")
    quality: LevelName = Field(
        default="standard",
        description="how thoroughly the network is applied, the less the faster: distance between patches, and in how "
        "many mirror images it sees each; reference is ParticleSeg3D's way",
    )
    mirror: bool | None = Field(
        default=None,
        description="all 8 mirrorings of every patch (test-time augmentation), or none; as the quality says when left "
        "out",
    )
    batch_size: BatchSize | None = Field(
        default=None, description="patches per forward pass; what suits the device when left out"
    )
    device: Device = Field(default="auto", description="where the network runs; auto takes a GPU when there is one")
    engine: Engine = Field(
        default="auto",
        description="what computes the network; auto takes OpenVINO on a CPU where it is installed, PyTorch elsewhere",
    )
    precision: Precision = Field(
        default="auto",
        description="of the network's numbers; auto takes float16 on CUDA, float32 elsewhere. bfloat16 is faster where "
        "the processor has instructions for it, and changes single voxels",
    )
    target_particle_size: TargetParticleSize | None = Field(
        default=None,
        description="diameter that the mean particle is resampled to, voxels; the model's when left out",
    )
    particle_size: StatedSize | None = Field(
        default=None,
        description="mean diameter of the particles, mm; auto: a look at the scan finds it; as the dataset says when "
        "left out",
    )
    particles: StatedPolarity | None = Field(
        default=None,
        description="whether particles are brighter or darker than what is around them; auto finds it; as the dataset "
        "says when left out",
    )
    roi: RegionOfInterest = Field(
        default="none",
        description="part of the scan that is segmented: auto finds wall and field of view by their shape and takes "
        "what is inside; cylinder:Y,X,RADIUS in voxels along z, or with mm at its end, or cylinder:Y0,X0,Y1,X1,RADIUS "
        "with the centres in the first and the last slice; or a mask, an image of the scan's shape or a whole fraction "
        "of it that is not 0 inside; none takes everything",
    )
    zscore: MeanAndStd | None = Field(
        default=None,
        description="mean and standard deviation of grey values; by the model's rule when left out",
    )
    allow_absurd: bool = Field(default=False, description="run even when a length of the scan looks mistyped")

    @property
    def level(self) -> Quality:
        """Numbers that quality and mirroring stand for."""
        level = LEVELS[self.quality]
        return level if self.mirror is None else replace(level, mirrorings=EVERY if self.mirror else PLAIN)


class InstancesParams(_Params):
    """Parameters of turning border-core labels into particles."""

    min_rel_particle_size: float = Field(
        default=0.005, ge=0, le=1, description="drop particles with fewer voxels than this share of the mean"
    )
    smallest_core: SmallestCore | None = Field(
        default=None,
        description="make border of cores with fewer voxels of the network grid; when left out, as the model says, or "
        "by ParticleSeg3D's rule of depth",
    )
    least_certainty: Certainty | None = Field(
        default=None,
        description="drop particles of whose voxels the network is less sure, on average: 0 keeps all; when left out, "
        "as the model says",
    )
    greatest_length: GreatestLength | None = Field(
        default=None,
        description="drop particles that are longer than so many of their equivalent diameters, as pieces of a tube's "
        "wall are: 0 keeps all; when left out, as the model says",
    )
    greatest_neck: GreatestNeck | None = Field(
        default=None,
        description="split cores at necks that are at most so many times as wide as the narrower part beside them: 0 "
        "splits none; when left out, as the model says",
    )


class ZScoreParams(_Params):
    """Parameters of finding mean and standard deviation of a dataset."""

    samples: int | None = Field(
        default=None, ge=1000, le=10**9, description="estimate from so many voxels drawn at random, not from all"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the draw; the same seed draws the same voxels")


class PreparationParams(_Params):
    """Parameters of turning annotated scans into training data. Defaults are those of ParticleSeg3D."""

    target_particle_size: TargetParticleSize = Field(
        default=60, description="diameter that the mean particle is resampled to, voxels"
    )
    border_thickness: BorderThickness = Field(
        default=3, ge=1, le=15, description="border class of a particle, 1 to 15 voxels"
    )
    zscore: MeanAndStd | None = Field(
        default=None,
        description="mean and standard deviation of grey values; from zscore.json of the dataset when left out",
    )
    per_scan: bool = Field(
        default=False,
        description="measure grey values on each scan, for models that are to meet scanners they never saw",
    )
    dataset_id: int = Field(default=500, ge=1, le=999, description="nnU-Net's number of the dataset, 1 to 999")
    dataset_name: _DatasetName = Field(
        default="ParticleSeg3D", description="nnU-Net's name of the dataset: letters, digits, - and _"
    )
    nnunet_v1: bool = Field(default=False, description="lay the folder out for nnU-Net 1, as TaskNNN_NAME")
    instances: bool = Field(
        default=False,
        description="also write instance labels (labelsTr_instance) and boxes of the particles that no face of the "
        "scan cuts (boxesTr, JSON: of every id z0, y0, x0, z1, y1, x1)",
    )
    nominal_spacing: VoxelEdge = Field(default=0.1, description="mm per voxel in the headers, the same for all scans")
    allow_absurd: bool = Field(default=False, description="go on even when a length of a scan looks mistyped")


class ImportParams(_Params):
    """Facts that a folder of nnU-Net does not say about its model, and what to take from it."""

    name: ModelName | None = Field(default=None, description="name of the model; the folder's when left out")
    target_particle_size: TargetParticleSize = Field(
        default=60, description="diameter that the mean particle was resampled to in training, voxels"
    )
    border_thickness: BorderThickness = Field(default=3, description="border class in training, voxels")
    zscore: MeanAndStd | None = Field(
        default=None,
        description="mean and standard deviation of grey values; when left out what the plan says, or for nnU-Net 1 "
        "ParticleSeg3D's",
    )
    per_scan: bool = Field(default=False, description="grey values by mean and standard deviation of each scan")
    normalisation: Normalisation | None = Field(default=None, description="of grey values, where it is known whole")
    folds: Folds | None = Field(default=None, description="folds to take; all when left out")
    checkpoint: Literal["best", "final"] | None = Field(
        default=None, description="weights to take; when left out best of nnU-Net 1, final of nnU-Net 2"
    )
    configuration: str | None = Field(
        default=None, description="configuration of nnU-Net 2; the one that was trained when left out"
    )
    sha256: _Checksum | None = Field(default=None, description="refuse an archive with another checksum")
    half_precision: bool = Field(default=False, description="store weights as float16, half the size")


class TrainParams(_Params):
    """Parameters of training with nnU-Net 2. What is left out is for nnU-Net, or the trainer named, to decide."""

    start_from: str | None = Field(
        default=None,
        min_length=1,
        description="begin with network and weights of this model: bundled, or folder or URL of one; the data has to "
        "be prepared for its particle size, border and grey values",
    )
    folds: Annotated[Folds | Literal["all"], BeforeValidator(_all_alone)] | None = Field(
        default=None,
        description="folds of the cross-validation, every one when left out; all: one model of all cases, unvalidated",
    )
    trainer: _ClassName = Field(
        default="nnUNetTrainer", description="class of nnU-Net, or of a module below nnUNet_extTrainer"
    )
    planner: _ClassName = Field(default="ExperimentPlanner", description="class of nnU-Net that plans the network")
    configuration: _Configuration = Field(default="3d_fullres", description="name in nnU-Net's plan")
    epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="rounds of training; the trainer's, 1000, when left out"
    )
    iterations: int | None = Field(
        default=None, ge=1, le=100_000, description="steps per epoch; the trainer's, 250, when left out"
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="of the first step, from where it falls to 0; the trainer's, 0.01, when left out",
    )
    border_weight: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="of border voxels in the loss, relative to the others; above 1, particles are separated when in "
        "doubt",
    )
    patch: Annotated[tuple[_PatchSide, _PatchSide, _PatchSide], BeforeValidator(_cube), Unit("voxels")] | None = Field(
        default=None, description="largest patch, 8 to 512 voxels: one side, or z y x"
    )
    batch_size: BatchSize | None = Field(default=None, description="patches per step")
    features: int | None = Field(default=None, ge=1, le=320, description="feature maps of the finest stage")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of weights and, without helper processes, of patches")
    device: Device = Field(default="auto", description="where the network is trained; auto takes a GPU if there is one")
    mirror: bool = Field(
        default=True, description="validate with the mean over the 8 mirrorings, as the quality reference has it"
    )
    name: ModelName | None = Field(
        default=None, description="name of the model; that of the data and the trainer when left out"
    )
    half_precision: bool = Field(default=False, description="store weights as float16, half the size")

    @field_validator("folds")
    @classmethod
    def _each_fold_once(cls, folds: tuple[int, ...] | str | None) -> tuple[int, ...] | str | None:
        return tuple(sorted(set(folds))) if isinstance(folds, tuple) else folds


class SourceParams(_Params):
    """What of a source is read, and how, where the source alone does not say."""

    series: str | None = Field(
        default=None,
        description="which scan of a folder that holds several: names of its slices (ore1_*; # is a number) or a word "
        "that only they have",
    )
    allow_gaps: bool = Field(
        default=False, description="accept slices whose numbering leaves some out; the others close up"
    )
    inside: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="path of the volume within a file that holds several, like /entry/data; SOURCE may end in it, too: "
        "scan.h5:/entry/data",
    )
    channel: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="which channel of a source that has several, from 0"
    )
    time: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="which point in time of a source that has several, from 0"
    )
    channels_are_slices: bool = Field(
        default=False, description="take what a TIFF file calls channels for slices, which is how some programs save"
    )
    raw: RawLayout | None = Field(
        default=None,
        description="layout of a file that is nothing but voxels: SHAPE,TYPE or SHAPE,TYPE,ENDIAN,OFFSET, with the "
        "shape as ZxYxX, like 800x512x512,uint16,little,0",
    )
    crop: CropText | None = Field(
        default=None,
        description="part that is read, Z0:Z1,Y0:Y1,X0:X1 in voxels or with units (1mm:3.5mm), nothing for all of an "
        "axis: 100:400,,256:; voxels keep the coordinates that they have in the scan",
    )
    every: int = Field(default=1, ge=1, le=1000, description="read every Nth voxel along each axis only, as a preview")
    nan: NanText | None = Field(
        default=None,
        description="grey value in the place of what is no number or infinite: a number, min (the least of the scan) "
        "or background (the middle of its darker values)",
    )


class CopyParams(SourceParams):
    """Parameters of copying a volume from files."""

    overwrite: bool = Field(default=False, description="replace what is there, if ps3d made it; nothing else is")


class IngestParams(CopyParams):
    """Parameters of bringing a scan into a dataset."""

    spacing: VoxelEdges | None = Field(
        default=None,
        description="edge of a voxel, mm, or with a unit: 12.5um; three where they differ, z, y, x; what the source "
        "says when left out",
    )
    particle_size: StatedSize = Field(
        description="mean diameter of the particles, mm; an estimate within 30 % will do; auto: a look at the scan "
        "finds it before it is segmented"
    )
    particles: StatedPolarity = Field(
        default="bright", description="whether particles are brighter or darker than what is around them; auto finds it"
    )
    sample: SampleFields = Field(
        default={}, description="what a laboratory says of the sample: id, operator, date, ...; shown in the report"
    )

    @property
    def edges(self) -> tuple[float, float, float] | None:
        """Edges of a voxel (z, y, x), mm; None where the source is to say them."""
        return None if self.spacing is None else per_axis(self.spacing)


class ExportParams(CopyParams):
    """Parameters of writing a volume for other programs."""

    format: Literal["tiff", "nifti", "mha", "nrrd", "hdf5", "zarr"] = Field(description="what to write")
    spacing: Annotated[tuple[VoxelEdge, VoxelEdge, VoxelEdge], BeforeValidator(_each_axis)] | None = Field(
        default=None, description="edges of a voxel (z, y, x), mm; what the source says when left out"
    )
    labels: bool | None = Field(
        default=None,
        description="voxels are ids: coarser levels of a Zarr show ids, not means; as the source says when left out",
    )


class MeshParams(_Params):
    """Parameters of writing the surfaces of particles as meshes."""

    format: Literal["stl", "ply", "glb"] = Field(
        default="stl", description="what to write: stl has triangles alone, ply and glb colours and labels as well"
    )
    smooth: float = Field(
        default=0.8,
        ge=0,
        le=10,
        description="standard deviation of the Gaussian that takes the steps off voxels, voxels",
    )
    bundle: bool = Field(default=False, description="one file with all particles, in place of one for each")
    overwrite: bool = Field(default=False, description="replace meshes that ps3d wrote there before")


class RetentionParams(_Params):
    """Rules that say which intermediates may go."""

    older_than_days: float = Field(
        default=30, ge=0, le=3650, description="days since the last file of a work folder was written"
    )
    states: tuple[Literal["finished", "abandoned"], ...] = Field(
        default=("finished", "abandoned"),
        description="finished: there is a whole result; abandoned: there is none, and a later run would start over",
    )


OnDoubt = Literal["keep", "hold"]
"""What becomes of a scan that is doubtful or not understood: it goes on like a good one, or waits for a person."""


class InboxParams(_Params):
    """Rules that say when scans are taken from an inbox, and what becomes of them."""

    settle_seconds: Annotated[float, Unit("seconds")] = Field(
        default=60,
        ge=0,
        le=86400,
        description="take a scan that does not say how many slices it has when nothing changed for so long; what is "
        "wrong is judged only then, too",
    )
    leave_sources: bool = Field(
        default=False, description="leave processed scans in the inbox instead of moving them to done/"
    )
    on_doubt: OnDoubt = Field(
        default="keep",
        description="what becomes of a scan whose verdict is doubtful or not understood, unless its description says: "
        "keep it like a good one, or hold it in held/ until a person has decided",
    )
    max_scans: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="scans that one poll takes at most; all that are complete when absent",
    )
    attempts: int = Field(
        default=3, ge=1, le=20, description="give up a scan whose worker died or broke so often; it moves to failed/"
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
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=4096,
        description="blocks, and on a CPU patches, worked on at once; as many as CPU cores when left out",
    )
    memory_gib: Annotated[float, Unit("GiB")] = Field(
        default_factory=lambda: max(1.0, 0.6 * free_bytes() / GIB),
        gt=0.1,
        le=65536,
        description="memory that the run may use, GiB; 60 % of what is free when left out",
    )
    runner: Literal["threads", "processes", "dask"] = Field(
        default="threads", description="where blocks are worked on; the results are the same"
    )
    dask_scheduler: str | None = Field(
        default=None,
        description="scheduler for the runner dask, like tcp://host:8786; a cluster on this machine when left out",
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


ColumnChoice = Literal["core", "shape", "all"]
"""Columns of a table by what they take, each choice with those before it."""


class MeasureParams(PhaseParams):
    """Parameters of measuring particles, their phases and their sizes."""

    columns: ColumnChoice = Field(
        default="core",
        description="columns of the table: core is what one walk over the voxels gives; shape adds Feret diameters, "
        "sieve size, hull, inscribed sphere, pores and directions; all adds what touches what",
    )
    sizes: SizeParams = Field(
        default=SizeParams(), description="size distributions of the report: densities, classes, a measured curve"
    )

    @model_validator(mode="after")
    def _sizes_are_measured(self) -> MeasureParams:
        if self.sizes.size != "equivalent" and self.columns == "core":
            raise ValueError(f"sizes by {self.sizes.size} need columns that core has not; take shape or all")
        return self

    @model_validator(mode="after")
    def _densities_are_of_phases(self) -> MeasureParams:
        names, dense = self.phase_names, set(self.sizes.densities)
        if dense and names and (wrong := sorted(set(names) ^ dense)):
            which = "has a density, but is no phase" if wrong[0] in dense else "has no density"
            raise ValueError(f"phase {wrong[0]} {which}; give one for each of {', '.join(names)}, or none")
        if dense and not self.given:
            raise ValueError("densities of phases, but no phases; say what they are, or give one density")
        return self


class SegmentParams(_Params):
    """All parameters that decide the result of a segmentation."""

    predict: PredictParams = Field(default=PredictParams(), description="how the network is applied")
    instances: InstancesParams = Field(default=InstancesParams(), description="how border-core labels become particles")
    measure: MeasureParams = Field(default=MeasureParams(), description="what is measured of particles")
