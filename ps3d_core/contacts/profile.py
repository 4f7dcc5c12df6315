"""packing.csv: the packing fraction of the whole, its profile along z and along the distance from the axis."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from ps3d_core.contacts.packing import Packing
from ps3d_core.errors import CorruptDataError
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, per_axis
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import publish_text

COLUMNS: Final = ("profile", "from_mm", "to_mm", "volume_mm3", "particles_mm3", "packing_fraction")
"""Which profile a row is of (whole, z, radius), where along it, and what lies there."""

Floats = npt.NDArray[np.float64]


class Profile(NamedTuple):
    """Volumes along z or along the distance from the axis, mm3, between `edges` (n + 1,) in mm.

    volume: of the region, (n,).
    particles: of particles in the region, (n,).
    """

    edges: Floats
    volume: Floats
    particles: Floats

    @property
    def fraction(self) -> Floats:
        """Packing fraction, (n,), NaN where nothing of the region lies."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.particles / self.volume)

    def coarser(self, most: int) -> Profile:
        """Return it in at most `most` parts, each of as many of these, and the last of what is left."""
        starts = np.arange(0, len(self.volume), max(1, -(-len(self.volume) // most)))
        if not len(starts):
            return self
        edges = np.concatenate((self.edges[starts], self.edges[-1:]))
        return Profile(edges, np.add.reduceat(self.volume, starts), np.add.reduceat(self.particles, starts))


class Profiles(NamedTuple):
    """What packing.csv says: the packing fraction of everything, and both profiles."""

    whole: float | None
    along_z: Profile
    along_radius: Profile


def profiles_of(packing: Packing, spacing: StatedSpacing, origin: Spacing) -> Profiles:
    """Return the profiles in mm, z in the scanner's frame, of counts of voxels of the whole scan."""
    z, y, x = per_axis(spacing)
    voxel = z * y * x
    slices, rings = np.arange(packing.slices.shape[1] + 1), np.arange(packing.rings.shape[1] + 1)
    particles, everything = packing.slices.sum(axis=1).tolist()
    return Profiles(
        particles / everything if everything else None,
        Profile(origin[0] + (slices - 0.5) * z, packing.slices[1] * voxel, packing.slices[0] * voxel),
        Profile(rings * x, packing.rings[1] * voxel, packing.rings[0] * voxel),
    )


def write_profiles(file: Location, profiles: Profiles) -> None:
    """Write packing.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    volume, particles = profiles.along_z.volume.sum(), profiles.along_z.particles.sum()
    writer.writerow(["whole", "", "", volume, particles, "" if profiles.whole is None else profiles.whole])
    for name, profile in (("z", profiles.along_z), ("radius", profiles.along_radius)):
        writer.writerows((name, *row) for row in _rows(profile))
    publish_text(file, text.getvalue())


def read_profiles(file: Location) -> Profiles:
    """Return what `write_profiles` wrote; raise `CorruptDataError` when it is something else."""
    types: dict[str, Any] = {name: pa.string() if name == "profile" else pa.float64() for name in COLUMNS}
    try:
        table = pa_csv.read_csv(
            io.BytesIO(file.read_bytes()), convert_options=pa_csv.ConvertOptions(column_types=types)
        )
        columns = {name: table[name].to_numpy(zero_copy_only=False) for name in COLUMNS}
        along = {name: _profile(columns, columns["profile"] == name) for name in ("z", "radius")}
        (whole,) = columns["packing_fraction"][columns["profile"] == "whole"].tolist()
    except (pa.ArrowException, KeyError, ValueError, IndexError) as error:
        raise CorruptDataError(f"{file}: no profile of the packing ({error}); segment or measure again") from error
    return Profiles(None if whole is None or np.isnan(whole) else whole, along["z"], along["radius"])


def _profile(columns: dict[str, npt.NDArray[Any]], own: npt.NDArray[np.bool_]) -> Profile:
    start, stop, volume, particles = (columns[name][own].astype(np.float64) for name in COLUMNS[1:5])
    return Profile(np.concatenate((start, stop[-1:])), volume, particles)


def _rows(profile: Profile) -> Iterator[tuple[Any, ...]]:
    columns = (profile.edges[:-1], profile.edges[1:], profile.volume, profile.particles, profile.fraction)
    for *numbers, fraction in zip(*(each.tolist() for each in columns), strict=True):
        yield *numbers, "" if np.isnan(fraction) else fraction
