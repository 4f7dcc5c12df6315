"""Which columns a particle table has, and what measures them."""

from __future__ import annotations

from dataclasses import dataclass

from ps3d_core.contacts import per_particle
from ps3d_core.morphology.measure import Morphology
from ps3d_core.params import MeasureParams
from ps3d_core.particles.column import COSTS, Column, Cost
from ps3d_core.particles.shape import DIRECTIONS
from ps3d_core.particles.table import COLUMNS
from ps3d_core.particles.whole import WholeMeasure


@dataclass(frozen=True, slots=True)
class Chosen:
    """Choice of columns.

    Attributes:
        cost: what the columns may take.
        measures: of whole particles.

    """

    cost: Cost = "core"
    measures: tuple[WholeMeasure, ...] = ()

    def takes(self, cost: Cost) -> bool:
        """Return whether columns of this cost are chosen."""
        return COSTS.index(cost) <= COSTS.index(self.cost)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the table, in order."""
        own = (column for column in (*COLUMNS, *DIRECTIONS, *per_particle.COLUMNS) if self.takes(column.cost))
        return (*own, *(column for measure in self.measures for column in measure.columns))


CORE = Chosen()


def chosen(params: MeasureParams) -> Chosen:
    """Return the columns and measures that these parameters ask for."""
    return Chosen(params.columns, measures_of(params))


def measures_of(params: MeasureParams) -> tuple[WholeMeasure, ...]:
    """Return the measures of whole particles that these parameters ask for."""
    return () if params.columns == "core" else (Morphology(),)
