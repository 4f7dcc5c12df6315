"""Flow: one scan from files into a dataset."""

from __future__ import annotations

from prefect import flow

from ps3d_core.scan.ingest import IngestSummary
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tasks.ingest import ingest


@flow(name="ingest-scan", flow_run_name="ingest {name}")
def ingest_scan(
    source: str,
    dataset: str,
    name: str,
    particle_size: float,
    spacing: float | None = None,
    overwrite: bool = False,
    allow_gaps: bool = False,
) -> IngestSummary:
    """Copy the scan at `source` (path or URL) into `dataset`; `spacing` and `particle_size` in mm."""
    return ingest(
        source,
        Dataset(Location.parse(dataset)),
        name,
        spacing=spacing,
        particle_size=particle_size,
        overwrite=overwrite,
        allow_gaps=allow_gaps,
    )
