"""Files beside a particle table: which there are, and that none of them is of another one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ps3d_core.params import MeasureParams
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import is_published, withdraw

CONTACTS: Final = ("contacts.parquet", "contacts.csv", "packing.csv")
PHASES: Final = ("phases.json", "phases.svg")
COMPOSITION: Final = "composition.csv"


def beside_table(params: MeasureParams) -> tuple[str, ...]:
    """Return the names of the files that are written beside the table."""
    contacts = CONTACTS if params.columns == "all" else ()
    phases = PHASES if params.find_phases is not None else ()
    return (*contacts, *phases, *((COMPOSITION,) if params.given else ()))


def withdraw_others(folder: Location, written: Collection[str]) -> None:
    """Remove from `folder` what earlier measuring wrote beside its table, and this one, which wrote `written`, did not.

    Phases that were found stay: a user gives them back. What somebody has changed since is kept under another name.
    """
    for name in (*CONTACTS, COMPOSITION):
        if name not in written and is_published(folder / name):
            withdraw(folder / name)
