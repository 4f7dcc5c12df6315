"""Step: how certain the network is of each particle, kept with the result.

It is known on the grid of the network only, in intermediates; a table that is made anew, years later, still has it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.classes import CERTAIN
from ps3d_core.engine.step import Context, DerivedStep, Outcomes
from ps3d_core.measuring.beside import CERTAINTY
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.parquet import WRITING, from_parquet
from ps3d_core.store.publishing import publish

SCHEMA: Final = pa.schema(
    [
        pa.field(name, pa.type_for_alias(kind), metadata={"description": meaning})
        for name, kind, meaning in (
            ("label", "uint32", "of the particle in the label image"),
            ("voxels", "int64", "on the grid of the network"),
            ("certainty", "double", "mean probability of the classes of these voxels"),
        )
    ]
)


class Certain(BaseModel):
    """How certain the network is of all particles together."""

    model_config = ConfigDict(frozen=True)

    certainty: float | None = Field(description="mean over all voxels of particles; None without any")


@dataclass(frozen=True)
class ParticleCertainty(DerivedStep[Certain]):
    """Step that writes how certain the network is of each particle: certainty.parquet."""

    plan: SegmentPlan
    instances: Instances
    label_image: LabelImage

    name, title, found = "certainty", "certainty", Certain

    @property
    def outputs(self) -> dict[str, Location]:
        """File of certainties, by its name in run.json."""
        return {"certainty": self.plan.job.result.root / CERTAINTY}

    def make(self, done: Outcomes, context: Context) -> Certain:
        """Write the mean over the voxels of each particle."""
        known = self.instances.certainties.read_arrays()
        labels = self.label_image.ids(done, context)[1:]
        seen = labels > 0
        labels, voxels, sums = labels[seen], known["voxels"][seen], known["certainty"][seen] / CERTAIN
        (output,) = self.outputs.values()
        with tempfile.TemporaryDirectory(prefix="ps3d-certainty-") as folder, writing_to(Location.parse(folder)):
            file = Path(folder) / output.name
            table = pa.Table.from_arrays([pa.array(c) for c in (labels, voxels, sums / voxels)], schema=SCHEMA)
            pq.write_table(table, file, **WRITING)
            publish(output, file)
        return Certain(certainty=float(sums.sum() / voxels.sum()) if len(voxels) else None)

    def by_label(self) -> npt.NDArray[np.float64]:
        """Return the certainty of each particle, with an element for label 0 first.

        Raise `CorruptDataError` when the file cannot be read.
        """
        (output,) = self.outputs.values()
        table = from_parquet(output, lambda file: file.read(columns=SCHEMA.names), "segment again")
        return np.concatenate(([np.nan], table.column("certainty").to_numpy()))
