"""What is kept of a scan that is compared: figures and binned distributions, whatever the length of its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isnan, prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.comparison.binned import RATIO_EDGES, SIZE_EDGES, Binned
from ps3d_core.comparison.results import FoundResult
from ps3d_core.errors import InputError
from ps3d_core.particles.distribution import SizeDistribution, equivalent_diameter, size_distribution
from ps3d_core.particles.report_sections import MIN_SHAPE_VOXELS
from ps3d_core.particles.table import column_names, read_columns
from ps3d_core.phases import phases_in

SHAPES: Final = ("sphericity", "elongation", "flatness", "solidity", "corey", "roundness")
"""Descriptors of shape between 0 and 1 that are compared where all tables have them."""
_LONGEST: Final = 60
"""Characters of the name of a phase that is compared."""
MAX_PHASES: Final = 20


@dataclass(frozen=True, slots=True)
class Share:
    """Share of a phase in the volume of all particles, and the standard error that sampling of particles gives it."""

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """One scan of a comparison; lengths in mm.

    Attributes:
        name: of the scan, with what tells it from others of that name.
        sample: sample data.
        date: of the sample, or else of the run; None where nobody knows.
        verdict: grade of the result; None for a bare table.
        particles: number of all.
        volume: of all particles, mm³.
        percent: of the scan's volume that is particles; None for a bare table.
        by_volume, by_number: characteristic sizes.
        sizes: diameters, weighted by volume.
        d50_replicates: resampled D50 by volume, mm.
        shapes: binned descriptors of particles with enough voxels.
        phases: shares of phases by name.

    """

    name: str
    sample: Mapping[str, str]
    date: datetime | None
    verdict: str | None
    particles: int
    volume: float
    percent: float | None
    by_volume: SizeDistribution
    by_number: SizeDistribution
    sizes: Binned
    d50_replicates: npt.NDArray[np.float64]
    shapes: Mapping[str, Binned]
    phases: Mapping[str, Share]

    @property
    def d50_interval(self) -> tuple[float, float]:
        """Interval that D50 by volume lies in, 19 of 20 times, as far as chance is concerned; mm."""
        low, high = np.quantile(self.d50_replicates, (0.025, 0.975))
        return float(low), float(high)


def scan_figures(result: FoundResult, seed: int) -> ScanFigures:
    """Return what is kept of one result; its table is read one column at a time.

    `seed` tells the resampling of one scan of a comparison from that of the others. Raise `InputError` for a table
    without particles, `CorruptDataError` for what is no particle table.
    """
    columns = read_columns(result.table, ["voxels"])
    voxels = columns["voxels"].astype(np.int64)
    if not len(voxels):
        raise InputError(f"{result.folder}: no particles in its table; leave it out of the comparison")
    first = read_columns(result.table, ["volume_mm3"])["volume_mm3"]
    volume, spacing = float(first.sum()), float(np.cbrt(first[0] / voxels[0]))
    del first
    sizes, counts = np.unique(voxels, return_counts=True)
    binned = Binned.of(equivalent_diameter(sizes, spacing), SIZE_EDGES, counts, sizes.astype(np.float64))
    by_volume, by_number = (size_distribution(voxels, spacing, weighting) for weighting in ("volume", "number"))
    assert by_volume is not None and by_number is not None  # noqa: S101, PT018  (there are particles)
    names, record = column_names(result.table), result.record
    return ScanFigures(
        name=result.title or result.name,
        sample={} if record is None else record.sample,
        date=result.date,
        verdict=None if record is None else record.counts.get("verdict", {}).get("grade"),
        particles=len(voxels),
        volume=volume,
        percent=None if record is None else 100 * int(voxels.sum()) / prod(record.input["shape"]),
        by_volume=by_volume,
        by_number=by_number,
        sizes=binned,
        d50_replicates=by_volume.d50 * binned.medians(seed, weighted=True),
        shapes={name: _shape(result, name, voxels) for name in SHAPES if name in names},
        phases={
            name: _share(result, f"phase_{name}_share", voxels) for name in phases_in(names) if len(name) <= _LONGEST
        },
    )


def common_shapes(scans: list[ScanFigures]) -> list[str]:
    """Return the descriptors of shape that all scans have for at least one particle."""
    return [name for name in SHAPES if all(name in scan.shapes and scan.shapes[name].particles for scan in scans)]


def common_phases(scans: list[ScanFigures]) -> list[str]:
    """Return the phases whose share is known of all scans, in the order of the first, `MAX_PHASES` at most."""
    known = [{name for name, share in scan.phases.items() if not isnan(share.value)} for scan in scans]
    return [name for name in scans[0].phases if all(name in each for each in known)][:MAX_PHASES]


def _shape(result: FoundResult, name: str, voxels: npt.NDArray[np.int64]) -> Binned:
    column = _column(result, name)[voxels >= MIN_SHAPE_VOXELS]
    return Binned.of(column[~np.isnan(column)], RATIO_EDGES)


def _share(result: FoundResult, name: str, voxels: npt.NDArray[np.int64]) -> Share:
    column = _column(result, name)
    known = ~np.isnan(column)
    shares, weights = column[known], voxels[known].astype(np.float64)
    if not len(shares):
        return Share(float("nan"), float("nan"))
    mean = float((shares * weights).sum() / weights.sum())
    # Standard error of a ratio of sums over independent particles.
    return Share(mean, float(np.sqrt((weights**2 * (shares - mean) ** 2).sum()) / weights.sum()))


def _column(result: FoundResult, name: str) -> npt.NDArray[Any]:
    return read_columns(result.table, [name])[name].astype(np.float64)
