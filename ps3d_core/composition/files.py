"""Phases in a file, as --find-phases writes it: for people to read and correct, and to be given back."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.phases import Phases
from ps3d_core.store.location import Location, as_json
from ps3d_core.store.publishing import publish_text

MOST_BYTES: Final = 1_000_000
"""Of a file of phases."""


def read_phases(file: Location) -> Phases:
    """Return the phases that a file holds, as `write_phases` writes it. Raise `InputError` when it holds none."""
    text = file.read_start(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise InputError(f"{file}: larger than {MOST_BYTES} bytes; give a file of phases")
    try:
        return Phases.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{file}: no phases: {first_problem(error)}") from error


def write_phases(file: Location, phases: Phases) -> None:
    """Write phases as JSON, for people to read and correct and for `read_phases`."""
    publish_text(file, as_json(phases.model_dump(mode="json")))
