"""Composition of a whole table: from its columns, whatever measured them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ps3d_core.composition.analysis import CompositionAnalysis, analyse_composition, columns_needed
from ps3d_core.composition.section import write_composition
from ps3d_core.engine.step import Context, Nothing, Outcomes, Step
from ps3d_core.particles.table import column_names, read_columns
from ps3d_core.phases import phases_in
from ps3d_core.size_params import SizeParams
from ps3d_core.store.location import Location

VERSION: Final = 1
"""Raise when a change of the code changes the file of one table: finished work of older code is then redone."""
_KINDS: Final = ("share", "exposed", "inclusions")
"""Columns of each phase."""


@dataclass(frozen=True)
class CompositionFile(Step[Nothing]):
    """Step that writes composition and liberation of all particles of a table: composition.csv.

    Attributes:
        table: step that writes the table.
        parquet: its file.
        file: gets the composition.
        place: folder of the ledgers.
        sizes: densities of phases, where they are known.

    """

    table: Step[Any]
    parquet: Location
    file: Location
    place: Location
    sizes: SizeParams

    name, title, found = "composition", "composition", Nothing

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the file."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Densities of phases, and where the file is."""
        return (self.sizes.densities, self.file.seen_from(self.place))

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the composition."""
        return {"composition": self.file}

    def make(self, done: Outcomes, context: Context) -> Nothing:
        """Write the file."""
        write_composition(self.file, composition_of(self.parquet, self.sizes))
        return Nothing()


def composed_phases(table: Location) -> tuple[str, ...]:
    """Return the names of the phases that a particle table has all columns of, in their order there."""
    columns = column_names(table)
    names = (name for name in phases_in(columns) if re.fullmatch(r"\w+", name))
    return tuple(name for name in names if all(f"phase_{name}_{kind}" in columns for kind in _KINDS))


def composition_of(table: Location, sizes: SizeParams) -> CompositionAnalysis | None:
    """Return the composition of all particles of a table; None where it knows no phases, or none was seen.

    It is by mass where `sizes` say the densities of all phases.
    """
    names = composed_phases(table)
    if not names:
        return None
    densities = sizes.densities if set(sizes.densities) == set(names) else None
    return analyse_composition(read_columns(table, columns_needed(names)), names, densities)
