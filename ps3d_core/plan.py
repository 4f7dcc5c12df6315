"""What segmenting one scan will do and cost, worked out before anything is done.

A plan is pure: making it reads metadata, and of a scan that was not ingested a first chunk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final, cast

import zarr

from ps3d_core import memory_model
from ps3d_core.border_core.plan import HALO
from ps3d_core.duration import duration_text
from ps3d_core.engine.block_size import largest_block
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.geometry.patches import fitted_patch
from ps3d_core.geometry.scale import Scale, particle_scale
from ps3d_core.geometry.spacing import Spacing, per_axis_text
from ps3d_core.inference.estimate import Pace, empty_share, outside_share
from ps3d_core.inference.plan import PredictionPlan, plan_prediction, walk_axis
from ps3d_core.inference.predict import patch_bytes
from ps3d_core.inference.sample import NetworkView, PaddedView, scan_intensity
from ps3d_core.inspection.settled import settled_info
from ps3d_core.network import BUNDLED
from ps3d_core.network.bundle import Bundle, load_bundle
from ps3d_core.network.computation import Computation, as_good, computation_of
from ps3d_core.network.device import gpu_count
from ps3d_core.network.measured import accuracy_text
from ps3d_core.network.normalisation import knows_surroundings
from ps3d_core.params import GIB, Resources, SegmentParams
from ps3d_core.quality import REFERENCE
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Region
from ps3d_core.region.settled import settled_region
from ps3d_core.result import check_result
from ps3d_core.roi import NONE
from ps3d_core.scan.contrast import require_contrast
from ps3d_core.scan.reader import scan_dtype
from ps3d_core.scan.sources import is_zarr
from ps3d_core.scan.spacing import agreed_spacing
from ps3d_core.store.arrays import is_ours
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset, Result, ScanInfo
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.presence import absences
from ps3d_core.store.room import require_room
from ps3d_core.store.sample_file import read_sample

LONG_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """One scan of a dataset to segment."""

    dataset: Dataset
    scan: str
    output: Location
    model: str = BUNDLED
    params: SegmentParams = field(default_factory=SegmentParams)
    resources: Resources = field(default_factory=Resources)
    keep_work: bool = False

    @property
    def result(self) -> Result:
        """Result folder of the scan."""
        return Result(self.output, self.scan)


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """Checked job of segmenting a scan, with all sizes worked out."""

    job: SegmentJob
    image: Location
    info: ScanInfo
    spacing: Spacing
    dtype: str
    bundle: Bundle
    target_particle_size: float
    scale: Scale
    prediction: PredictionPlan
    input_identity: str
    computation: Computation
    notes: tuple[str, ...] = ()
    region: Region = field(default_factory=Region)
    sample: Mapping[str, str] = field(default_factory=dict)
    images: tuple[tuple[str, Location, str], ...] = ()
    """Further images of the same voxels: name, place, and digest of the content."""

    @property
    def work(self) -> Location:
        """Folder of intermediates and ledger."""
        return self.job.result.work

    @property
    def as_good(self) -> tuple[SegmentPlan, ...]:
        """This plan, and those with other computations that agree with what was said."""
        params = self.job.params.predict
        others = as_good(params.engine, params.precision)
        return self, *(replace(self, computation=each) for each in others if each.identity != self.computation.identity)

    @property
    def knows_surroundings(self) -> bool:
        """Whether normalised grey values of surroundings are at -1, those of particles at 1."""
        given = self.job.params.predict.zscore is not None
        return not given and knows_surroundings(self.bundle.info.normalisation)

    @property
    def skips_empty(self) -> bool:
        """Whether surely empty patches are not evaluated: grey values of surroundings have to be known for that."""
        return self.prediction.quality.adaptive and self.knows_surroundings

    @property
    def region_text(self) -> str | None:
        """What is segmented, in words; None where nobody asked for less than everything."""
        return None if self.job.params.predict.roi == NONE else self.region.text

    @property
    def on_network_grid(self) -> GridRegion | None:
        """Region of the scan on its network grid, None where that is everything."""
        return GridRegion(self.region, self.scale.scan_shape, self.scale.network_shape) if self.region else None

    @property
    def cutting(self) -> GridRegion | None:
        """Region on the grid of the scan, with the bounds that cut particles alone; None where there are none."""
        shape = self.scale.scan_shape
        return GridRegion(cutting, shape, shape) if (cutting := self.region.cutting) else None

    def outside_share(self) -> float:
        """Return about which share of the patches lies outside of the region, and is not evaluated."""
        region = self.on_network_grid
        return 0.0 if region is None else outside_share(self.prediction.patches, region)

    @property
    def inputs(self) -> tuple[Location, ...]:
        """Places that are read, and never written."""
        mask = () if self.region.mask is None else (Location.parse(self.region.mask.place),)
        images = (place for _, place, _ in self.images)
        return self.image, self.job.dataset.metadata, self.bundle.location, *mask, *images

    @property
    def later_memory_bytes(self) -> int:
        """Budget in bytes of the stages after prediction; threads work beside the libraries that prediction loaded."""
        return _later_memory_bytes(self.job.resources, self.computation.engine)

    @property
    def disk_bytes(self) -> int:
        """Peak in bytes of what is written, compression and tables left out.

        On the network grid border-core labels and their certainty, cores, grown cores and particles, on the scan grid
        the label image and its coarser levels, which together have a seventh of its voxels.
        """
        network, scan = prod(self.scale.network_shape), prod(self.scale.scan_shape)
        return network * (1 + 1 + 4 + 4 + 4) + scan * 4 * 8 // 7

    def empty_share(self) -> float:
        """Return about which share of the patches will be skipped as surely empty; some of the scan is read.

        It is 0 where a scan cannot be read: its run says so, and a plan of many scans goes on.
        """
        if not self.skips_empty:
            return 0.0
        try:
            view = NetworkView(open_image(self.image), self.scale.network_shape)
            intensity = scan_intensity(view, self.bundle.info.normalisation, dark=self.info.is_dark)
            return empty_share(PaddedView(view, self.prediction.patches, intensity))
        except Ps3dError:
            return 0.0

    def seconds(self, pace: Pace, empty: float = 0.0) -> tuple[float, float]:
        """Return about how many seconds prediction and all other stages take.

        `pace` is that of patches of full depth, `empty` the share of patches that are skipped.
        """
        network, scan = prod(self.scale.network_shape), prod(self.scale.scan_shape)
        later = network * memory_model.SECONDS_PER_NETWORK_VOXEL + scan * memory_model.SECONDS_PER_SCAN_VOXEL
        others = memory_model.SECONDS_PER_SCAN + later / self.job.resources.workers
        share = (
            (1 - max(empty, self.outside_share()))
            * prod(self.prediction.patches.patch)
            / prod(self.bundle.info.patch_size)
        )
        rows = share * sum(count * pace.seconds(patches) for count, patches in self.prediction.rows)
        return pace.start + rows / min(self.prediction.workers, len(self.prediction.blocks)), others

    @property
    def quality_text(self) -> str:
        """Numbers of the chosen quality, what it costs, and where it was measured its accuracy."""
        quality = self.prediction.quality
        cost = f"{quality.passes:.3g} forward passes per patch volume, {REFERENCE.passes:g} for reference"
        accuracy = accuracy_text(self.bundle.info.accuracy, quality)
        return (
            f"{self.job.params.predict.quality}: a patch every {shape_text(self.prediction.patches.stride)} voxels, "
            f"sigma of weights {quality.sigma:g} of a patch, {len(quality.mirrorings)} mirroring(s); {cost}"
            f"{f'; {accuracy} on held-out phantoms' if accuracy else ''}"
        )

    def describe(self, pace: Pace | None = None, empty: float = 0.0) -> list[str]:
        """Return the plan in lines for a person.

        With the pace of prediction they say how long it takes, with the share of empty patches what is spared.
        """
        patches = self.prediction
        lines = [
            f"scan       {self.job.scan}: {shape_text(self.scale.scan_shape)} voxels, {self.dtype}, "
            f"{per_axis_text(self.spacing)} mm per voxel",
            f"particles  {'dark, ' if self.info.is_dark else ''}mean diameter {self.info.particle_size_mm:g} mm = "
            f"{self.info.particle_size_mm / self.info.mean_spacing:.1f} voxels; the model wants "
            f"{self.target_particle_size:g}: zoom {self.scale.zoom_text}",
            f"network    {shape_text(self.scale.network_shape)} voxels, {len(patches.patches)} patches of "
            f"{shape_text(patches.patches.patch)}, {patches.evaluated} evaluated in {len(patches.blocks)} block(s) "
            f"({patches.redundancy:.2f} per patch)",
            f"quality    {self.quality_text}",
            f"engine     {self.computation.text}",
            f"memory     about {patches.memory_bytes * patches.workers / GIB:.1f} GiB for prediction, budget "
            f"{self.job.resources.memory_gib:.1f} GiB; up to {self.disk_bytes / GIB:.1f} GiB on the store",
        ]
        if (text := self.region_text) is not None:
            outside = self.outside_share()
            spared = f"; about {outside:.0%} of the patches lie outside and are not evaluated" if outside else ""
            lines.append(f"region     {text}{spared}")
        if empty:
            lines.append(f"air        about {empty:.0%} of the patches are surely empty and not evaluated")
        if pace is not None:
            predict, others = self.seconds(pace, empty)
            about, rest = duration_text(predict), duration_text(others)
            lines.append(f"time       about {about} for prediction and {rest} for all the rest here")
            if predict + others > LONG_SECONDS:
                lines.append(
                    "note       a GPU makes it shorter, and so does a lower quality; the same command "
                    "continues it after an interruption"
                )
        return lines + [f"note       {note}" for note in self.notes]


def plan_segmentation(job: SegmentJob) -> SegmentPlan:
    """Check a job and work out its sizes.

    Raise `InputError` or `MissingDataError` for a scan, model or parameter that cannot be used, and for a result that
    neither memory nor disk can hold. What only takes long is done.
    """
    stated = job.dataset.scan_info(job.scan)
    image = job.dataset.require_image(job.scan)
    array = open_image(image)
    scan_dtype(array.dtype, str(image))
    require_chunk_fits(array, job.resources.memory_bytes)
    spacing = agreed_spacing(image, stated)
    require_contrast(image)
    bundle = load_bundle(job.model)
    info = settled_info(job.dataset, job.scan, job.params.predict, bundle)
    target = job.params.predict.target_particle_size or bundle.info.target_particle_size
    _check_folds(job, bundle)
    scale = _scale_of(job, info, target, cast(Shape, array.shape))
    computation = _computation(job)
    plan = SegmentPlan(
        job=job,
        image=image,
        info=info,
        spacing=spacing,
        dtype=str(array.dtype),
        bundle=bundle,
        target_particle_size=target,
        scale=scale,
        prediction=_planned_prediction(job, bundle, computation, array, scale.network_shape),
        input_identity=content_identity(image),
        computation=computation,
        notes=() if is_ours(array) else absences(array),
        region=settled_region(job.dataset, job.scan, job.params.predict.roi, info.spacing),
        sample=read_sample(job.dataset.sample(job.scan)),
        images=_further_images(job, scale.scan_shape),
    )
    check_result(job.result, job.result.parts, plan.inputs)
    if not job.result.root.exists():  # an earlier run has written its part already
        require_room(job.output, plan.disk_bytes, "give another <output>", "correct the particle size of the scan")
    return plan


def _scale_of(job: SegmentJob, info: ScanInfo, target: float, shape: Shape) -> Scale:
    return particle_scale(
        shape,
        spacing=info.spacing,
        particle_size=info.particle_size_mm,
        target_particle_size=target,
        allow_absurd=job.params.predict.allow_absurd,
    )


def _further_images(job: SegmentJob, shape: Shape) -> tuple[tuple[str, Location, str], ...]:
    """Name, place and content of further images; raise `InputError` unless each is a Zarr image of this shape."""
    found = []
    for name, path in job.params.measure.image_paths.items():
        place = Location.parse(path)
        if not is_zarr(place):
            raise InputError(f"image {name}, {path}: no Zarr; bring it into a dataset with ps3d ingest first")
        array = open_image(place)
        require_chunk_fits(array, job.resources.memory_bytes)
        if array.shape != shape:
            raise InputError(f"image {name}, {path}: shape {array.shape}, the scan has {shape}; give its own image")
        found.append((name, place, content_identity(place)))
    return tuple(found)


def _planned_prediction(
    job: SegmentJob, bundle: Bundle, computation: Computation, array: zarr.Array[Any], network_shape: Shape
) -> PredictionPlan:
    """Plan prediction, and refuse now rather than after hours of it what later steps could not do."""
    quality, patch = job.params.predict.level, bundle.info.patch_size
    prediction = plan_prediction(
        network_shape,
        fitted_patch(network_shape, patch, bundle.info.architecture.downsampling) if quality.adaptive else patch,
        quality=quality,
        memory_bytes=job.resources.memory_bytes,
        workers=prediction_workers(job.resources, computation.device),
        network_bytes=_network_bytes(bundle, job, computation.engine),
        read_bytes=NetworkView(array, network_shape, walk_axis(network_shape)).read_bytes,
    )
    largest_block(
        network_shape,
        bytes_per_voxel=memory_model.INSTANCES_BYTES,
        memory_bytes=_later_memory_bytes(job.resources, computation.engine),
        workers=job.resources.workers,
        halo=HALO,
    )
    return prediction


def prediction_workers(resources: Resources, device: str) -> int:
    """Return how many blocks are predicted at once on a kind of device.

    Threads share one network, which keeps all cores or a GPU busy by itself; of several GPUs each has its worker.
    """
    if resources.dask_scheduler is not None:
        return resources.workers
    return max(gpu_count(device), 1 if resources.runner == "threads" else resources.workers)


def patches_at_once(resources: Resources) -> int:
    """Return how many patches each worker of prediction evaluates side by side on a CPU."""
    return resources.workers if resources.runner == "threads" else max(1, (os.cpu_count() or 1) // resources.workers)


def _computation(job: SegmentJob) -> Computation:
    params = job.params.predict
    elsewhere = job.resources.dask_scheduler is not None
    return computation_of(params.engine, params.precision, params.device, elsewhere=elsewhere)


def _check_folds(job: SegmentJob, bundle: Bundle) -> None:
    wrong = sorted(set(job.params.predict.folds or ()) - set(bundle.folds))
    if wrong:
        raise InputError(
            f"fold {wrong[0]}: model {bundle.info.name!r} has folds {list(bundle.folds)}; choose among these"
        )


def _network_bytes(bundle: Bundle, job: SegmentJob, engine: str) -> int:
    """Peak of one prediction worker aside from its block: libraries, weights, activations of the patches at once."""
    params = job.params.predict
    at_once, of_each = patches_at_once(job.resources), params.batch_size or 1
    if engine == "openvino":  # one patch after the other
        of_each = len(params.folds or bundle.folds)
    return memory_model.WORKER_BYTES + memory_model.torch_bytes() + at_once * of_each * patch_bytes(bundle.info)


def _later_memory_bytes(resources: Resources, engine: str) -> int:
    kept = memory_model.torch_bytes() + (memory_model.OPENVINO_BYTES if engine == "openvino" else 0)
    return resources.memory_bytes - (kept if resources.runner == "threads" else 0)
