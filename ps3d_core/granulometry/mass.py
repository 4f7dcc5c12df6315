"""Weights of particles: their volume, and their mass by one density or by that of each phase.

The mass of a particle is the sum over phases of its share of the volume times its density; 1 g/cm3 is 1 mg/mm3. A
particle whose shares are not known gets the mean density of all others, by volume.
"""

from __future__ import annotations

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.granulometry.curve import Floats
from ps3d_core.granulometry.params import SizeParams
from ps3d_core.granulometry.source import Source


def masses(source: Source, params: SizeParams, volumes: Floats) -> Floats:
    """Return the masses (n,) of particles of these `volumes` (n,), mg and mm3.

    Raise `InputError` when the densities are not those of the phases in the table.
    """
    if params.density is not None:
        return volumes * params.density
    _require_phases(source, params)
    total, shares = np.zeros(len(volumes)), np.zeros(len(volumes))
    for name, density in sorted(params.densities.items()):
        share = source.column(f"phase_{name}_share")
        total += share * density
        shares += share
    with np.errstate(invalid="ignore", divide="ignore"):
        densities = np.where(shares > 0, total / shares, np.nan)
    unknown = np.isnan(densities)
    if unknown.all():
        raise InputError(f"{source.table}: no particle has shares of phases; give one density with --density")
    mean = float((densities[~unknown] * volumes[~unknown]).sum() / volumes[~unknown].sum())
    return np.where(unknown, mean, densities) * volumes


def _require_phases(source: Source, params: SizeParams) -> None:
    phases = set(source.phases)
    if not phases:
        raise InputError(
            f"{source.table}: densities of phases, but no column phase_NAME_share",
            "measure the composition first, or give one density for all",
        )
    if unknown := sorted(set(params.densities) - phases):
        raise InputError(f"density of {unknown[0]}: no such phase; the table has {', '.join(sorted(phases))}")
    if missing := sorted(phases - set(params.densities)):
        raise InputError(f"phase {missing[0]} has no density; give one for each of {', '.join(sorted(phases))}")
