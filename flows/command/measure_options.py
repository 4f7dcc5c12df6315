"""Options that say what is measured of particles, for all commands that measure."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from ps3d_app.flows.command.fields import add_field, add_fields, given
from ps3d_app.flows.command.size_options import add_density, add_size_options, size_params

if TYPE_CHECKING:
    from ps3d_app.flows.command.fields import Options
    from ps3d_core.params import MeasureParams
    from ps3d_core.phases import Phases


def add_measure_options(parser: argparse.ArgumentParser, *, report: bool) -> None:
    """Add the options of columns and phases in groups of their own, and those of the size distributions of a report."""
    from ps3d_core.params import MeasureParams

    measures = parser.add_argument_group("measures")
    add_field(measures, MeasureParams, "columns")
    phases = parser.add_argument_group("phases inside particles")
    add_field(phases, MeasureParams, "phase", action="extend", metavar="NAME=LOW:HIGH")
    phases.add_argument("--phases", metavar="FILE", help="file of phases, as --find-phases writes it: phases.json")
    add_fields(phases, MeasureParams, "find_phases", "find_in", "blur_voxels")
    if report:
        add_size_options(parser.add_argument_group("size distributions"))
    else:
        add_density(phases)


def add_further_images(to: Options) -> None:
    """Add --image for further images of a scan."""
    from ps3d_core.params import MeasureParams

    add_field(to, MeasureParams, "images", "--image", action="extend", metavar="NAME=PATH")


def is_named_image(text: str) -> bool:
    """Return whether what --image says is a further image, NAME=PATH, and no path alone."""
    return re.match(r"[A-Za-z][A-Za-z0-9_]{0,39}=", text) is not None


def measure_params(args: argparse.Namespace) -> MeasureParams:
    """Return what the options say. Raise `InputError`, which names the option, for what cannot be."""
    from ps3d_core.params import MeasureParams

    return given(MeasureParams, args, phases=_phases(args.phases), sizes=size_params(args))


def _phases(path: str | None) -> Phases | None:
    from ps3d_core.composition.files import read_phases
    from ps3d_core.errors import InputError
    from ps3d_core.store.location import Location

    if path is None:
        return None
    file = Location.parse(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file; give phases.json, as --find-phases writes it")
    return read_phases(file)
