"""Step: the report, a page with pictures, size distribution, shapes and the run's own figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.particles import report
from ps3d_core.particles.report import About
from ps3d_core.plan import SegmentPlan
from ps3d_core.run_facts import RunFacts, page_fingerprint
from ps3d_core.sections import sections_of
from ps3d_core.size_params import SizeParams
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.table import ParticleTable
from ps3d_core.steps.verdict import ScanVerdict
from ps3d_core.store.location import Location
from ps3d_core.version import __version__


class Reported(BaseModel):
    """Place of a finished report, and a digest of what decides it but for the sample data."""

    model_config = ConfigDict(frozen=True)

    report: str
    drawn: str = ""


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
        """Size of the particles as the user stated it, mm, which is shown, and how sizes are given where it is said."""
        sizes = self.plan.job.params.measure.sizes
        said = () if sizes == SizeParams() else (sizes.model_dump(mode="json"),)
        return (self.plan.info.particle_size_mm, *said)

    @property
    def drawn(self) -> str:
        """Digest of everything that decides the page but for the sample data."""
        return super().fingerprint

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the page."""
        return page_fingerprint(self.drawn, self.plan.sample)

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the report, by its name in run.json."""
        return {"report": self.plan.job.result.report}

    def make(self, done: Outcomes, context: Context) -> Reported:
        """Draw and write the report."""
        plan, result = self.plan, self.plan.job.result
        facts, verdict = run_facts(plan, done), done.of(ScanVerdict)
        files, sizes = {**self.table.contacts.outputs, **self.table.outputs}, plan.job.params.measure.sizes
        sections = sections_of(files, plan.info.spacing, sizes)
        with context.progress.stage("report", 1, "pages") as stage:
            report.write_report(
                result.report,
                labels=result.labels,
                image=plan.image,
                table=result.table_parquet,
                spacing=plan.info.spacing,
                about=About(plan.job.scan, plan.sample, verdict, facts, facts.lines, sections),
            )
            stage.advance()
        return Reported(report=str(result.report), drawn=self.drawn)


def run_facts(plan: SegmentPlan, done: Outcomes) -> RunFacts:
    """Return what the page tells of a run whose particles were found."""
    found = done.of(Instances)
    return RunFacts(
        version=__version__,
        model=plan.bundle.info.name,
        digest=plan.bundle.info.digest,
        scan_shape=plan.scale.scan_shape,
        network_shape=plan.scale.network_shape,
        zoom=plan.scale.zoom_text,
        target=plan.target_particle_size,
        particle_size=plan.info.particle_size_mm,
        region=plan.region_text,
        split=found.split,
        left_out={"too small": found.dropped, "uncertain": found.unsure, "too long": found.long},
        parameters=plan.job.params.model_dump(mode="json", exclude_none=True),
    )
