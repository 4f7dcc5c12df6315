"""Step: the particle table, one row per particle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.errors import CorruptDataError
from ps3d_core.particles import measure, table
from ps3d_core.particles.measure import ParticleSummary
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.location import Location


@dataclass(frozen=True)
class ParticleTable(Step[ParticleSummary]):
    """Step that measures every particle and writes the table, as Parquet and as CSV."""

    plan: SegmentPlan
    label_image: LabelImage

    name, title, found = "particles", "measure", ParticleSummary

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of what is measured and of how it is written."""
        return (measure.VERSION, table.VERSION)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """No parameters of its own: what decides the label image decides the table."""
        return ()

    @property
    def outputs(self) -> dict[str, Location]:
        """Files of the particle table, Parquet and CSV, by their names in run.json."""
        return {"parquet": self.plan.job.result.table_parquet, "csv": self.plan.job.result.table_csv}

    def make(self, done: Outcomes, context: Context) -> ParticleSummary:
        """Sum over the voxels of every particle block by block, and merge the sums."""
        plan = self.plan
        labels, labelled = plan.job.result.labels, done.of(LabelImage).particles
        summary = measure.measure_particles(
            labels,
            plan.job.result.root,
            spacing=plan.info.spacing,
            work=plan.work,
            image=plan.image,
            identity=self.fingerprint,
            context=context,
        )
        if summary.particles != labelled:
            raise CorruptDataError(
                f"{labels}: {summary.particles} particles where {labelled} were labelled; the label image is damaged, "
                "make it again"
            )
        return summary
