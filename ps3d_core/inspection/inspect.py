"""Look at a scan before it is segmented; say what was seen, and what to do.

    polarity    particles are brighter than their surroundings, or darker: what the network agrees with itself about
    size        their mean diameter, with an interval; compared with what was stated
    quality     faults of the scan itself
    forecast    accuracy to expect, and one sentence

It takes seconds to a minute, whatever the size of the scan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import prod
from typing import Final, NamedTuple

from ps3d_core.geometry.spacing import Spacing, relative_spacing
from ps3d_core.inspection.blocks import read_blocks
from ps3d_core.inspection.forecast import forecast
from ps3d_core.inspection.page import FACTORS, SHOWN, page_of
from ps3d_core.inspection.quality import scan_quality
from ps3d_core.inspection.record import Inspection, look_identity, save_inspection, saved_inspection
from ps3d_core.inspection.sighting import Looker, Sighting, looking
from ps3d_core.inspection.size import CLEAR, SizeFound, Tried, agreed, best_agreement, enough, sizes_to_try, tried
from ps3d_core.network import BUNDLED
from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.computation import computation_of
from ps3d_core.params import PredictParams
from ps3d_core.progress import SILENT, Progress, Stage
from ps3d_core.quantities import Polarity
from ps3d_core.region.settled import settle_region, settled_region
from ps3d_core.roi import AUTO
from ps3d_core.scan.contrast import require_contrast
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.publishing import publish_text

QUICK: Final = 8
"""Blocks of each size that is tried."""
ENOUGH: Final = 30
"""Particles seen whole from which on a size needs no more blocks."""
PROMISING: Final = 0.05
"""Agreement of a size that may turn out to be the right one."""
CLOSE: Final = 24
"""Blocks at the size that was found."""


class Scan(NamedTuple):
    """A scan to look at.

    image: OME-Zarr.
    edges: of a voxel (z, y, x), in units of their geometric mean, in which sizes in voxels are.
    """

    image: Location
    edges: Spacing

    @property
    def sides(self) -> list[float]:
        """Lengths of the sides (z, y, x), in voxels as sizes are."""
        return [n * edge for n, edge in zip(open_image(self.image).shape, self.edges, strict=True)]


class Look(NamedTuple):
    """Polarity and size of the particles of a scan, and what is found at that size."""

    particles: Polarity
    size: SizeFound | None
    close: Sighting


@dataclass(frozen=True, slots=True)
class InspectJob:
    """Scan of a dataset to look at, and the model that looks."""

    dataset: Dataset
    scan: str
    model: str = BUNDLED
    predict: PredictParams = field(default_factory=PredictParams)
    workers: int = 2


def inspect(job: InspectJob, progress: Progress = SILENT) -> Inspection:
    """Look at a scan, unless this model has looked at it before; return what was seen.

    It is kept with the dataset, in inspections/. Raise `InputError` or `MissingDataError` for a scan or a model that
    cannot be used.
    """
    bundle, image = load_bundle(job.model), job.dataset.require_image(job.scan)
    info = job.dataset.scan_info(job.scan)
    scan = Scan(image, relative_spacing(info.spacing))
    require_contrast(image)
    if (known := saved_inspection(job.dataset, job.scan, bundle)) is not None:
        return known.beside(info)
    started = time.perf_counter()
    predict = job.predict
    computation = computation_of(predict.engine, predict.precision, predict.device)
    with looking(bundle, computation, job.workers) as looker:
        seen = look(scan, looker, progress)
        shown = _three_sizes(scan, looker, seen)
        pace = looker.seconds_per_patch
    settle_region(job.dataset, job.scan, AUTO, progress)
    region = settled_region(job.dataset, job.scan, AUTO, info.spacing)
    with progress.stage("quality", 1, "scans") as stage:
        quality = scan_quality(image, seen.close, bundle.info, scan.edges)
        stage.advance()
    inspection = Inspection(
        scan=job.scan,
        spacing=info.spacing,
        patches=prod(open_image(image).shape) * seen.close.zoom**3 / prod(bundle.info.patch_size),
        seconds_per_patch=pace,
        stated_mm=None if info.particle_size == "auto" else info.particle_size,
        stated_particles=info.particles,
        model=bundle.info.name,
        model_digest=bundle.info.digest,
        seen_by=look_identity(bundle, image, info.spacing),
        particles=seen.particles,
        size=seen.size,
        surroundings=region.text if region else None,
        forecast=forecast(seen.close, bundle.info, dark=seen.particles == "dark"),
        quality=quality,
        seconds=time.perf_counter() - started,
    )
    page = page_of(inspection, shown, bundle.info.target_particle_size)
    publish_text(job.dataset.inspections(job.scan) / f"{inspection.model_key}.html", page)
    save_inspection(job.dataset, inspection, bundle)
    return inspection


def _three_sizes(scan: Scan, looker: Looker, seen: Look) -> list[Sighting]:
    """Sightings at sizes around the one that was found, which is one of them."""
    at = looker.bundle.info.target_particle_size / seen.close.zoom
    dark = seen.particles == "dark"
    others = {factor: at * factor for factor in FACTORS if factor != 1}
    found = {f: sighting_at(scan, looker, size, dark=dark, count=SHOWN) for f, size in others.items()}
    return [found.get(factor, seen.close) for factor in FACTORS]


def look(scan: Scan, looker: Looker, progress: Progress = SILENT) -> Look:
    """Look at a scan at many sizes, then closely at the one that its particles seem to have.

    Particles are bright unless the network agrees with itself better when grey values are turned round.
    """
    sides, info = scan.sides, looker.bundle.info
    sizes = sizes_to_try(max(sides), min(sides), info.target_particle_size)
    with progress.stage("look", 2 * len(sizes) + 1, "sizes") as stage:
        bright = _try_sizes(scan, looker, sizes, stage, dark=False)
        dark = [] if best_agreement(bright) > CLEAR else _try_sizes(scan, looker, sizes, stage, dark=True)
        is_dark = best_agreement(dark) > best_agreement(bright)
        known = dark if is_dark else bright
        size = agreed(known)
        at = size.size if size else max(known, key=lambda each: each.trust).size
        close = sighting_at(scan, looker, at, dark=is_dark, count=CLOSE)
        stage.advance()
    if size is not None:
        size = agreed([*known, tried(close, at, info)])
    return Look("dark" if is_dark else "bright", size, close)


def _try_sizes(scan: Scan, looker: Looker, sizes: list[float], stage: Stage, *, dark: bool) -> list[Tried]:
    known: list[Tried] = []
    for size in sizes:
        known.append(_tried(scan, looker, size, dark=dark))
        stage.advance()
        if enough(known):
            break
    return known


def _tried(scan: Scan, looker: Looker, size: float, *, dark: bool) -> Tried:
    """Try one size in a few blocks, and in more where too few particles were seen in these."""
    found = tried(sighting_at(scan, looker, size, dark=dark, count=QUICK), size, looker.bundle.info)
    if found.promise > PROMISING and found.whole < ENOUGH:
        found = tried(sighting_at(scan, looker, size, dark=dark, count=CLOSE), size, looker.bundle.info)
    return found


def sighting_at(scan: Scan, looker: Looker, size: float, *, dark: bool, count: int) -> Sighting:
    """Return what is found when particles are taken to measure `size` voxels, in at most `count` blocks."""
    zoom = looker.bundle.info.target_particle_size / size
    z, y, x = (zoom * edge for edge in scan.edges)
    blocks = read_blocks(scan.image, (z, y, x), looker.bundle, 2 * count)
    return looker.sight(blocks, zoom, dark=dark, count=count)
