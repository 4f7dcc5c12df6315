"""Step: the report, a page with pictures, size distribution, shapes and the run's own figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.particles import report
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.table import ParticleTable
from ps3d_core.steps.verdict import ScanVerdict
from ps3d_core.store.location import Location
from ps3d_core.version import __version__


class Reported(BaseModel):
    """Place of a finished report."""

    model_config = ConfigDict(frozen=True)

    report: str


@dataclass(frozen=True)
class ReportPage(Step[Reported]):
    """Step that writes the report: one HTML file that shows itself in any browser, without others."""

    plan: SegmentPlan
    table: ParticleTable
    verdict: ScanVerdict

    name, title, found = "report", "report", Reported

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the report."""
        return (report.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Size of the particles as the user stated it, mm, which is shown."""
        return (self.plan.info.particle_size_mm,)

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the report, by its name in run.json."""
        return {"report": self.plan.job.result.report}

    def make(self, done: Outcomes, context: Context) -> Reported:
        """Draw and write the report."""
        plan, result, found = self.plan, self.plan.job.result, done.of(Instances)
        with context.progress.stage("report", 1, "pages") as stage:
            report.write_report(
                result.report,
                title=plan.job.scan,
                labels=result.labels,
                image=plan.image,
                table=result.table_parquet,
                spacing=plan.info.spacing,
                verdict=done.of(ScanVerdict),
                facts={
                    "Model": plan.bundle.info.name,
                    "Software": f"ps3d {__version__}",
                    "Scan grid, voxels (z, y, x)": shape_text(plan.scale.scan_shape),
                    "Network grid, voxels (z, y, x)": shape_text(plan.scale.network_shape),
                    "Zoom": plan.scale.zoom_text,
                    **({"Region": plan.region_text} if plan.region_text else {}),
                    "Stated particle size, mm": plan.info.particle_size_mm,
                    "Split at necks": found.split,
                    "Left out": {"too small": found.dropped, "uncertain": found.unsure, "too long": found.long},
                    "Parameters": plan.job.params.model_dump(mode="json", exclude_none=True),
                },
            )
            stage.advance()
        return Reported(report=str(result.report))
