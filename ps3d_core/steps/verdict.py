"""Step: the verdict, whether the result of a scan can be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.particles.table import read_columns
from ps3d_core.particles.verdict import Evidence, Verdict, verdict_on
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.table import ParticleTable

VERSION: Final = 1
"""Raise when a change of the code gives another verdict on the same particles."""


@dataclass(frozen=True)
class ScanVerdict(Step[Verdict]):
    """Step that says how far the particles of a scan can be trusted, from the columns of doubt in their table."""

    plan: SegmentPlan
    table: ParticleTable

    name, title, found = "verdict", "verdict", Verdict

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the verdict."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[float, ...]:
        """Size of the particles as the user stated it, mm, which the found ones are compared with."""
        return (self.plan.info.particle_size_mm,)

    def make(self, done: Outcomes, context: Context) -> Verdict:
        """Read the columns of doubt and judge by them."""
        names = ["voxels", "confidence", "maybe_merged", "maybe_split", "touches_border"]
        columns = read_columns(self.plan.job.result.table_parquet, names)
        confidence, merged, split = (columns[name].astype(np.float64) for name in names[1:4])
        found = done.of(Instances)
        evidence = Evidence(
            dropped_voxels=found.unsure_voxels,
            kept_voxels=found.voxels,
            cut=int(columns["touches_border"].sum()),
            particle_size=self.plan.info.particle_size_mm,
            spacing=self.plan.info.spacing,
        )
        return verdict_on(columns["voxels"], confidence, merged, split, evidence)
