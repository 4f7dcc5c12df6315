"""Step: the particle table, one row per particle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ps3d_core.composition.find import FindPhases
from ps3d_core.engine.block_step import Site
from ps3d_core.errors import CorruptDataError
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.measuring.chosen import decides
from ps3d_core.measuring.measure import Measurement, ParticleSummary
from ps3d_core.params import MeasureParams
from ps3d_core.particles.by_label import ByLabel
from ps3d_core.particles.doubt import Flags, Sureness
from ps3d_core.particles.merged import MergedSums
from ps3d_core.particles.sample import Sample
from ps3d_core.particles.table import About
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.certainty import ParticleCertainty
from ps3d_core.steps.contacts import ContactAreas
from ps3d_core.steps.grey_values import GreyScale, GreyValues
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.arrays import read_box
from ps3d_core.store.ledger import Record, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image


@dataclass(frozen=True)
class ParticleTable(Measurement[ParticleSummary]):
    """Step that measures every particle and writes the table, as Parquet and as CSV."""

    plan: SegmentPlan
    label_image: LabelImage
    contacts: ContactAreas
    certainty: ParticleCertainty | None = None
    phases: FindPhases | None = None

    name, found = "particles", ParticleSummary

    @property
    def parameters(self) -> tuple[Any, ...]:
        """What the model knows of its own certainty, and which columns are chosen; the rest is of steps before."""
        calibration = self.plan.bundle.info.calibration
        known = () if calibration is None else (calibration.model_dump(),)
        return (*known, *decides(self.params), *self._images)

    @property
    def identity(self) -> str:
        """Digest of what decides the label image, and with it the scan, and of further images."""
        return fingerprint(self.label_image.fingerprint, *self._images)

    @property
    def _images(self) -> tuple[str, ...]:
        return tuple(identity for *_, identity in self.plan.images)

    @property
    def params(self) -> MeasureParams:
        """Which columns the job asks for, and what they need to know."""
        return self.plan.job.params.measure

    @property
    def outputs(self) -> dict[str, Location]:
        """Files of the particle table, Parquet and CSV, by their names in run.json."""
        return {"parquet": self.plan.job.result.table_parquet, "csv": self.plan.job.result.table_csv}

    @property
    def sample(self) -> Sample:
        """Label image on the scan grid, and the scan."""
        others = tuple((name, place) for name, place, _ in self.plan.images)
        return Sample(self.plan.job.result.labels, self.plan.image, self.plan.info.spacing, others)

    @property
    def folder(self) -> Location:
        """Folder of the run's intermediates."""
        return self.plan.work

    def about(self, shape: Shape) -> About:
        """Return what the table says of its scan, and of the region of it that was segmented."""
        plan = self.plan
        margin = self._margin if plan.cutting is not None else (0.0, 0.0, 0.0)
        bounds = {"region": plan.region.model_copy(update={"mask": None}), "masked": plan.region.mask is not None}
        return super().about(shape).model_copy(update={**bounds, "margin": margin})

    @property
    def _margin(self) -> Spacing:
        """How near to a bound of the region a particle counts as cut, voxels: labels come from the network grid."""
        z, y, x = (1 + 1 / zoom for zoom in self.plan.scale.zoom_zyx)
        return z, y, x

    def neighbour_values(self, site: Site) -> ByLabel:
        """Return the columns of what touches what."""
        return self.contacts.by_particle()

    def work(self, block: Block, site: Site) -> Record:
        """Leave the sums of one block, and say which particles the region cuts there."""
        record, region = super().work(block, site), self.plan.cutting
        if region is None:
            return record
        edge = ~region.inside(block.core, margin=self._margin)
        labels = read_box(open_image(self.volume), block.core)[edge]
        return record | {"cut": np.unique(labels[labels > 0]).tolist()}

    def _cut(self, records: Sequence[Record], particles: int) -> Flags | None:
        """Whether the region cuts each of particles 1 to n."""
        if self.plan.cutting is None:
            return None
        cut = np.zeros(particles + 1, np.bool_)
        for record in records:
            cut[record["cut"]] = True
        return cut

    def tabled(self, particles: MergedSums, records: Sequence[Record], site: Site) -> ParticleSummary:
        """Write the table and return its summary.

        Raise `CorruptDataError` when there are not as many particles as were labelled.
        """
        labelled = site.done.of(LabelImage).particles
        known = self._known(labelled, site.done.of(GreyValues))
        summary = self.write_table(particles, site, replace(known, cut=self._cut(records, labelled)))
        if summary.particles != labelled:
            raise CorruptDataError(
                f"{self.volume}: {summary.particles} particles where {labelled} were labelled; the label image is "
                "damaged, make it again"
            )
        return summary

    def _known(self, particles: int, grey: GreyScale) -> Sureness:
        """What is known of particles 1 to n beside their voxels."""
        plan = self.plan
        contact, neighbour = self.contacts.largest(particles)
        return Sureness(
            particle_size=plan.info.particle_size_mm,
            contact=contact,
            neighbour=neighbour,
            certainty=None if self.certainty is None else self.certainty.by_label(),
            calibration=plan.bundle.info.calibration,
            intensity=grey.intensity if plan.knows_surroundings else None,
        )
