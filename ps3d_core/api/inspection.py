"""`inspect`: a look at a scan before it is segmented, in one call."""

from __future__ import annotations

from dataclasses import dataclass

from ps3d_core.api.report import Report
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.inspection.inspect import InspectJob
from ps3d_core.inspection.inspect import inspect as inspect_scan
from ps3d_core.inspection.record import Inspection
from ps3d_core.inspection.words import lines_of
from ps3d_core.invalid import made
from ps3d_core.network import BUNDLED
from ps3d_core.params import IngestParams, PredictParams, Resources
from ps3d_core.progress import SILENT, Progress
from ps3d_core.quantities import StatedPolarity, StatedSize
from ps3d_core.scan.array_volume import is_array
from ps3d_core.scan.ingest import ingest
from ps3d_core.scan.sources import Source
from ps3d_core.store.layout import Dataset
from ps3d_core.store.scratch import temporary

_SCAN = "scan"


@dataclass(frozen=True)
class Look:
    """What was seen when a model looked at a scan."""

    found: Inspection
    """Size, polarity, faults and forecast, and what to do: `found.size_mm`, `found.advice`, `found.problems`."""
    page: Report
    """The same in pictures, at three sizes."""

    def _repr_html_(self) -> str:
        return self.page._repr_html_()

    def __repr__(self) -> str:
        lines = (f"{word}: {said}" for word, said in lines_of(self.found))
        return "\n".join((self.found.sentence, *self.found.problems, *lines))


def inspect(
    image: Source,
    *,
    spacing: StatedSpacing | None = None,
    particle_size: StatedSize = "auto",
    particles: StatedPolarity = "auto",
    model: str = BUNDLED,
    params: PredictParams | None = None,
    resources: Resources | None = None,
    progress: Progress = SILENT,
) -> Look:
    """Look at some blocks of a scan, at many sizes, and say whether a model understands it.

    Args:
        image: grey values (z, y, x): an array (NumPy, Zarr, Dask), the path or URL of a file or folder of
            any format, or what `open_scan` has opened. It is copied to a
            place that goes when the call ends.
        spacing: edge of a voxel, mm, or three (z, y, x); what the source says when absent.
        particle_size: mean diameter of the particles, mm, which is checked; "auto" when nobody knows.
        particles: whether these are brighter or darker than what is around them, which is checked, or "auto".
        model: bundled, or folder or URL of a bundle.
        params: device, engine and precision.
        resources: workers; the whole machine when absent.
        progress: is told how the work goes on.

    Raises:
        InputError: for what cannot be used.

    """
    stated = made(IngestParams, spacing=spacing, particle_size=particle_size, particles=particles)
    with temporary(in_memory=is_array(image)) as place:
        dataset = Dataset(place)
        ingest(image, dataset, _SCAN, stated, progress=progress)
        workers = (resources or Resources()).workers
        found = inspect_scan(InspectJob(dataset, _SCAN, model, params or PredictParams(), workers), progress)
        return Look(found, Report((dataset.inspections(_SCAN) / f"{found.model_key}.html").read_text()))
