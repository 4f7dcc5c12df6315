"""Flow: one scan from files into a dataset."""

from __future__ import annotations

from prefect import flow
from pydantic import Field

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.ingest import ingest
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.invalid import made
from ps3d_core.params import IngestParams, SourceParams
from ps3d_core.quantities import StatedPolarity, StatedSize
from ps3d_core.sample_data import SampleFields
from ps3d_core.scan.ingest import IngestSummary
from ps3d_core.store.layout import Dataset


class ReadingParams(SourceParams):
    """Parameters of what is read of a source, and of whose sample it is."""

    sample: SampleFields = Field(
        default={},
        description="what a laboratory says of the sample, shown in the report: texts by names, like id, operator, "
        "customer, material, date, licence and any others; what an earlier ingest said stays when left out",
    )


@flow(name="ingest-scan", flow_run_name="ingest {name}", on_running=[at_work])
@form
def ingest_scan(
    source: str,
    dataset: str,
    name: str,
    particle_size: StatedSize,
    spacing: StatedSpacing | None = None,
    particles: StatedPolarity = "bright",
    overwrite: bool = False,
    reading: ReadingParams | None = None,
) -> IngestSummary:
    """Bring one scan into a dataset, whole or not at all.

    Args:
        source: Where the scan is: a file or folder of any format that is read; URL or absolute path. A volume in an
            HDF5 file is scan.h5:/entry/data.
        dataset: Dataset to add it to: folder or URL; made when it is not there.
        name: Name for the scan. Results will carry it.
        particle_size: Mean diameter of the particles in mm; within 30 % will do. auto: a look at the scan finds it.
        spacing: Edge of a voxel in mm; three (z, y, x) where they differ. Leave it out when the source says it; ps3d
            look tells.
        particles: Whether particles are brighter or darker than what is around them; auto finds it.
        overwrite: Replace a scan of this name. Otherwise such a run fails and changes nothing.
        reading: What of the source is read, and how, where the source alone does not say: which of several scans,
            volumes or channels, a part of it, what stands for values that are no numbers. Also the sample data.

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
            particles=particles,
            overwrite=overwrite,
            **(reading.model_dump(exclude_defaults=True) if reading else {}),
        ),
    )
