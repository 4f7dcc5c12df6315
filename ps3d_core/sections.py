"""Sections of the report that other rooms make, of the files of a result: those that there are."""

from __future__ import annotations

from collections.abc import Mapping

from ps3d_core.composition.section import composition_section
from ps3d_core.contacts.per_particle import ParticleContacts
from ps3d_core.contacts.profile import read_profiles
from ps3d_core.contacts.section import contacts_section
from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.granulometry.analysis import size_analysis
from ps3d_core.granulometry.earlier import recorded_window
from ps3d_core.granulometry.model import SizeAnalysis
from ps3d_core.granulometry.section import sizes_section
from ps3d_core.measuring.composed import composition_of
from ps3d_core.particles.report_sections import Figures, units_for
from ps3d_core.particles.table import read_columns
from ps3d_core.size_params import SizeParams
from ps3d_core.store.location import Location


def sections_of(
    results: Mapping[str, Location], spacing: StatedSpacing, sizes: SizeParams | None = None
) -> dict[str, Figures]:
    """Return the figures of each section, by the names of `report.SECTIONS`.

    `results` are the files of a result by the names that run.json has for them; `spacing` is in mm; `sizes` say how
    size distributions are given.
    """
    found: dict[str, Figures] = {}
    sizes, table = sizes or SizeParams(), results.get("parquet")
    if table is not None and len(voxels := read_columns(table, ["voxels"])["voxels"]):
        units = units_for(voxels, spacing)
        found["granulometry"] = sizes_section(_sizes(table, sizes), units)
        if (composition := composition_of(table, sizes)) is not None:
            found["composition"] = composition_section(composition, units)
    if {"parquet", "contacts", "packing"} <= set(results):
        found["contacts"] = _contacts(results, spacing)
    return found


def _sizes(table: Location, sizes: SizeParams) -> SizeAnalysis:
    """Size distributions as they are asked for; plain ones, with a note, where the particles do not have what it takes.

    That shows in the table alone, after everything has been measured, which is no time to fail.
    """
    window = recorded_window(table)
    try:
        return size_analysis(table, sizes, window=window)
    except InputError as error:
        plain = size_analysis(table, window=window)
        said = f"sizes are not given as was asked for: {_without_place(str(error), table)}"
        return plain.model_copy(update={"notes": (said, *plain.notes)})


def _without_place(text: str, table: Location) -> str:
    """Return a message about a table without the place where it lies, which is nobody's business who gets a page."""
    return text.replace(f"{table}: ", "")


def _contacts(results: Mapping[str, Location], spacing: StatedSpacing) -> Figures:
    columns = read_columns(results["parquet"], ["label", "voxels", "touches_border"])
    touched = ParticleContacts(results["contacts"]).of(columns["label"])["coordination"]
    units, profiles = units_for(columns["voxels"], spacing), read_profiles(results["packing"])
    return contacts_section(touched, columns["touches_border"].astype(bool), profiles, units)
