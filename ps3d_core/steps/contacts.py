"""Step: contacts of the particles of a scan, and how densely they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ps3d_core.contacts.per_particle import ParticleContacts
from ps3d_core.contacts.step import ContactMeasurement
from ps3d_core.contacts.table import ROWS
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.plan import SegmentPlan
from ps3d_core.region.region import Region
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.location import Location
from ps3d_core.store.parquet import from_parquet


@dataclass(frozen=True)
class ContactAreas(ContactMeasurement):
    """Step that measures how much of their surfaces neighbouring particles share; the rest of a surface is free."""

    plan: SegmentPlan
    label_image: LabelImage

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The region, where there is one; all else is decided by what decides the label image."""
        return (self.region.facts,) if self.region else ()

    @property
    def folder(self) -> Location:
        """Folder of the run's intermediates."""
        return self.plan.work

    @property
    def volume(self) -> Location:
        """Label image on the scan grid."""
        return self.plan.job.result.labels

    @property
    def spacing(self) -> StatedSpacing:
        """Edges of a voxel, mm."""
        return self.plan.info.spacing

    @property
    def results(self) -> Location:
        """Folder of the result."""
        return self.plan.job.result.root

    @property
    def region(self) -> Region:
        """Region that was segmented, within its walls."""
        return self.plan.region

    def by_particle(self) -> ParticleContacts:
        """Return a reader of coordination number and contact area by label; `CorruptDataError` when there is none."""
        return ParticleContacts(self.outputs["contacts"])

    def largest(self, particles: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
        """Return the area of the largest contact of labels 0 to n, mm2, and the neighbour; 0 where there is none.

        Of contacts of equal area the one with the lowest neighbour counts. Raise `CorruptDataError` when the file of
        the contacts cannot be read.
        """
        return from_parquet(self.outputs["contacts"], lambda file: _largest(file, particles), "segment again")


def _largest(file: pq.ParquetFile, particles: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
    area, neighbour = np.zeros(particles + 1), np.zeros(particles + 1, np.uint32)
    for batch in file.iter_batches(ROWS, columns=["label_a", "label_b", "contact_area_mm2"]):
        lower, higher, areas = (np.asarray(column) for column in batch.columns)
        _keep_largest(lower, higher, areas, area, neighbour)
        _keep_largest(higher, lower, areas, area, neighbour)
    return area, neighbour


def _keep_largest(
    labels: npt.NDArray[np.uint32],
    others: npt.NDArray[np.uint32],
    areas: npt.NDArray[np.float64],
    area: npt.NDArray[np.float64],
    neighbour: npt.NDArray[np.uint32],
) -> None:
    order = np.lexsort((others, -areas, labels))
    labels, first = np.unique(labels[order], return_index=True)
    rows = order[first]
    same = (areas[rows] == area[labels]) & (others[rows] < neighbour[labels])
    better = (areas[rows] > area[labels]) | same
    area[labels[better]], neighbour[labels[better]] = areas[rows][better], others[rows][better]
