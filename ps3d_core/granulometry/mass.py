"""Weights of particles: their volume, and their mass by one density or by that of each phase.

The mass of a particle is the sum over phases of its share of the volume times its density; 1 g/cm3 is 1 mg/mm3. A
particle whose shares are not known gets the mean density of all others, by volume.
"""

from __future__ import annotations

import numpy as np

from ps3d_core.errors import InputError
from ps3d_core.granulometry.curve import Floats
from ps3d_core.granulometry.source import Source
from ps3d_core.size_params import SizeParams


def masses(source: Source, params: SizeParams, volumes: Floats) -> Floats:
    """Return the masses (n,) of particles of these `volumes` (n,), mg and mm3.

    Raise `InputError` when the densities are not those of the phases in the table.
    """
    if params.density is not None:
        return volumes * params.density
    _require_phases(source, params)
    found, names = np.empty(len(volumes)), sorted(params.densities)
    wanted = np.array([params.densities[name] for name in names])

    def weigh(first: int, shares: Floats) -> None:
        total = shares.sum(axis=1)
        density = np.divide(shares @ wanted, total, where=total > 0, out=np.full(len(total), np.nan))
        found[first : first + len(total)] = density

    source.each([f"phase_{name}_share" for name in names], weigh)
    unknown = np.isnan(found)
    if unknown.all():
        raise InputError(f"{source.table}: no particle has shares of phases", "give one <density> for all particles")
    known = float(np.sum(volumes, where=~unknown))
    found *= volumes
    found[unknown] = volumes[unknown] * (float(np.sum(found, where=~unknown)) / known)
    return found


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
