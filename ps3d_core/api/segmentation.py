"""`segment`: from a scan to labels, table and report in one call."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from ps3d_core.api.report import Report
from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import StatedSpacing, per_axis_text
from ps3d_core.invalid import made
from ps3d_core.network import BUNDLED
from ps3d_core.params import IngestParams, Resources, SegmentParams
from ps3d_core.particles.table import read_table
from ps3d_core.pipeline import segment as segment_scan
from ps3d_core.plan import SegmentJob
from ps3d_core.progress import SILENT, Progress
from ps3d_core.quantities import StatedSize
from ps3d_core.record import RunRecord
from ps3d_core.remade import remake_report
from ps3d_core.sample_data import sample_of
from ps3d_core.scan.array_volume import is_array
from ps3d_core.scan.companions import stem_and_ending
from ps3d_core.scan.ingest import ingest, same_voxels
from ps3d_core.scan.sources import Source, place_of
from ps3d_core.store.layout import Dataset, Result, is_usable
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.parquet import from_parquet
from ps3d_core.store.scratch import fresh_place, remove, remove_with


@dataclass(frozen=True)
class Segmentation:
    """Particles of one scan: labels, tables and report. Everything is read when it is asked for."""

    result: Result
    record: RunRecord
    """Record of what was run, on what, and how it went."""

    @property
    def particles(self) -> int:
        """Number of particles."""
        return self.record.particles

    @property
    def labels(self) -> zarr.Array[Any]:
        """Label image, uint32 (z, y, x), shape of the scan: 0 is background, 1..N are particles."""
        labels = open_image(self.result.labels)
        object.__setattr__(labels, "_segmentation", self)  # which must not go, and its files with it, before the array
        return labels

    @property
    def table(self) -> pa.Table:
        """Table with one row per particle, in order of the labels; `table.to_pandas()` where pandas is installed."""
        return read_table(self.result.table_parquet)

    @property
    def contacts(self) -> pa.Table:
        """Table with one row for every two particles that touch, and the surface that they share, mm2."""
        return from_parquet(self.result.root / self.record.results["contacts"], pq.ParquetFile.read, "segment again")

    def report(self, sample: Mapping[str, str | float] | None = None) -> Report:
        """Return the page about the scan, which shows itself in a notebook.

        `sample` is what a laboratory says of the sample, by names like id, operator or date: page, record and dataset
        say it from then on. Raise `InputError` where it cannot be used.
        """
        if sample is not None:
            _, record = remake_report(self.result.root, sample_of(sample))
            object.__setattr__(self, "record", record)
        return Report(self.result.report.read_text())

    def __repr__(self) -> str:
        return f"{self.particles} particles in {self.result.scan!r}: labels, table, report()"


def segment(
    image: Source,
    *,
    particle_size: StatedSize,
    spacing: StatedSpacing | None = None,
    output: str | Location | None = None,
    model: str = BUNDLED,
    params: SegmentParams | None = None,
    resources: Resources | None = None,
    progress: Progress = SILENT,
) -> Segmentation:
    """Segment a scan into particles and measure them.

    Args:
        image: grey values (z, y, x): an array (NumPy, Zarr, Dask), the path or URL of a file or folder of
            any format, or what `open_scan` has opened.
        particle_size: mean diameter of the particles, mm; "auto": a look at the scan finds it.
        spacing: edge of a voxel, mm, or three (z, y, x); what the source says when absent.
        output: folder or URL that gets dataset/ (the scan) and NAME/ (the result); the same call continues there what
            was interrupted. When absent, everything goes with the object returned: scans in memory are kept there,
            others in a temporary folder.
        model: bundled, or folder or URL of a bundle.
        params: parameters of the stages; that particles are dark, or where they are looked for, is in `predict`.
        resources: memory, workers and runner; the whole machine when absent.
        progress: is told how the work goes on.

    Raises:
        InputError: for what cannot be used, before anything is computed.
        StoreError: when a store fails.

    """
    place = fresh_place(in_memory=is_array(image)) if output is None else Location.parse(output)
    dataset, name = Dataset(place / "dataset"), _name_of(image)
    with ExitStack() as stack:
        if output is None:
            stack.callback(remove, place)
        stated = made(IngestParams, spacing=spacing, particle_size=particle_size)
        _bring_in(image, dataset, name, stated, progress)
        job = SegmentJob(dataset, name, place, model, params or SegmentParams(), resources or Resources())
        segmentation = Segmentation(job.result, segment_scan(job, progress))
        if output is None:
            stack.pop_all()
            remove_with(segmentation, place)
        return segmentation


def _bring_in(image: Source, dataset: Dataset, name: str, stated: IngestParams, progress: Progress) -> None:
    """Ingest the scan, unless an earlier call did."""
    info = dataset.read_metadata().get(name)
    if info is None:
        ingest(image, dataset, name, stated, progress=progress)
    elif info.particle_size != stated.particle_size or stated.spacing not in (None, info.spacing):
        raise InputError(
            f"{dataset.root}: scan {name!r} is there with a spacing of {per_axis_text(info.spacing)} mm and particles "
            f"of {info.particle_size} mm",
            "give another <output>",
        )
    elif not same_voxels(image, dataset.require_image(name)):
        raise InputError(f"{dataset.root}: another scan {name!r} is there", "give another <output>")


def _name_of(image: Source) -> str:
    """Return the name of the scan: that of its folder or file, without ending."""
    place = place_of(image)
    name = "scan" if place is None else place.name.removesuffix(".zarr")
    name, _ = stem_and_ending(name) or (name, "")
    return name if is_usable(name) else "scan"
