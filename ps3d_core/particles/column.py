"""Columns of the particle table: declared once, each beside the code that measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from ps3d_core.params import ColumnChoice

Cost = ColumnChoice
"""What a column takes: one walk over the voxels, a look at each particle as a whole, or its neighbours besides."""

COSTS: Final[tuple[Cost, ...]] = get_args(ColumnChoice)
"""Choices of columns, each of which holds those before it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the particle table.

    Attributes:
        name: carries the unit.
        type: alias of an Arrow type.
        unit: 1 for a number without one, empty for what is no number.
        meaning: one line.
        formula: how it is computed, where the meaning does not say it all.
        source: standard or publication that defines it.
        cost: the least choice of columns that has it.

    """

    name: str
    type: str
    unit: str
    meaning: str
    formula: str = ""
    source: str = ""
    cost: Cost = "core"
