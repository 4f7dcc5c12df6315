"""Which columns a particle table has, and what measures them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ps3d_core.composition.measure import Composition, ImageValues
from ps3d_core.contacts import per_particle
from ps3d_core.morphology.measure import Morphology
from ps3d_core.params import MeasureParams
from ps3d_core.particles.column import COSTS, Column, Cost
from ps3d_core.particles.shape import DIRECTIONS
from ps3d_core.particles.table import COLUMNS
from ps3d_core.particles.whole import WholeMeasure
from ps3d_core.phases import Phases


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


def chosen(params: MeasureParams, phases: Phases | None = None) -> Chosen:
    """Return the columns and measures that these parameters ask for; `phases` are those of the particles."""
    return Chosen(params.columns, measures_of(params, phases))


def measures_of(params: MeasureParams, phases: Phases | None = None) -> tuple[WholeMeasure, ...]:
    """Return the measures of whole particles that these parameters ask for; `phases` are those of the particles."""
    shape = () if params.columns == "core" else (Morphology(),)
    values = tuple(ImageValues(name) for name in params.image_paths)
    return (*shape, *values, *(() if phases is None else (Composition(phases),)))


def decides(params: MeasureParams) -> tuple[Any, ...]:
    """Return what of the parameters decides the values of a table, JSON-able; nothing for the core columns alone.

    Phases that are to be found are decided by the step that finds them.
    """
    stated = params.stated()
    measures = measures_of(params, stated)
    if params.find_phases is not None:
        return (params.columns, *_told(measures), Composition.version)
    return (params.columns, *_told(measures)) if measures or params.columns != "core" else ()


def _told(measures: tuple[WholeMeasure, ...]) -> list[list[Any]]:
    return [[type(measure).__name__, measure.version, *measure.parameters] for measure in measures]
