"""Files beside a particle table: which there are, and that none of them is of another one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ps3d_core.composition.files import read_phases
from ps3d_core.errors import InputError
from ps3d_core.params import MeasureParams
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import is_published, read_receipt, withdraw

CONTACTS: Final = ("contacts.parquet", "contacts.csv", "packing.csv")
PHASES: Final = ("phases.json", "phases.svg")
COMPOSITION: Final = "composition.csv"
CERTAINTY: Final = "certainty.parquet"


def beside_table(params: MeasureParams) -> tuple[str, ...]:
    """Return the names of the files that are written beside the table."""
    contacts = CONTACTS if params.columns == "all" else ()
    phases = PHASES if params.find_phases is not None else ()
    return (*contacts, *phases, *((COMPOSITION,) if params.given else ()))


def withdraw_others(folder: Location, written: Collection[str], params: MeasureParams) -> None:
    """Remove from `folder` what lay beside an earlier table, but for what measuring with `params` has `written` anew.

    Phases that were found and are given back stay. What somebody has changed since is kept under another name.
    """
    known = read_receipt(folder).keys() - set(written)
    for file in (folder / name for name in (*CONTACTS, *PHASES, COMPOSITION, CERTAINTY) if name in known):
        if is_published(file) and not (file.name == PHASES[0] and _are_given(file, params)):
            withdraw(file)


def _are_given(file: Location, params: MeasureParams) -> bool:
    """Return whether a file holds the phases that `params` say: it is where they came from."""
    try:
        return params.phases is not None and read_phases(file) == params.phases
    except InputError:
        return False
