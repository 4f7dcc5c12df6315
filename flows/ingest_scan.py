"""Flow: one scan from files into a dataset."""

from __future__ import annotations

from prefect import flow

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.ingest import ingest
from ps3d_core.invalid import made
from ps3d_core.params import IngestParams
from ps3d_core.quantities import StatedSize
from ps3d_core.scan.ingest import IngestSummary
from ps3d_core.store.layout import Dataset


@flow(name="ingest-scan", flow_run_name="ingest {name}", on_running=[at_work])
@form
def ingest_scan(
    source: str,
    dataset: str,
    name: str,
    particle_size: StatedSize,
    spacing: float | None = None,
    overwrite: bool = False,
    allow_gaps: bool = False,
    series: str | None = None,
) -> IngestSummary:
    """Bring one scan into a dataset, whole or not at all.

    Args:
        source: Where the scan is: a folder of TIFF slices, a multi-page TIFF, a NIfTI file or a Zarr array; URL or
            absolute path.
        dataset: Dataset to add it to: folder or URL; made when it is not there.
        name: Name for the scan. Results will carry it.
        particle_size: Mean diameter of the particles in mm; within 30 % will do. auto: a look at the scan finds it.
        spacing: Edge of a voxel in mm. Leave it out when the source says it (NIfTI, OME-Zarr, some TIFF).
        overwrite: Replace a scan of this name. Otherwise such a run fails and changes nothing.
        allow_gaps: Take a stack with missing slice numbers; the slices close up. Otherwise such a run fails.
        series: Which scan to take of a folder that holds several: a pattern for the names of its slices, like ore1_*,
            or a word that only they have.

    Returns:
        What was ingested.

    """
    return ingest(
        str(place(source)),
        Dataset(place(dataset)),
        name,
        made(
            IngestParams,
            spacing=spacing,
            particle_size=particle_size,
            overwrite=overwrite,
            allow_gaps=allow_gaps,
            series=series,
        ),
    )
