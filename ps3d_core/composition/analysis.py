"""What a sample is made of, and how well its phases are freed from each other: from columns of the table alone.

    modal composition     share of each phase in the volume (mass) of all particles
    liberation curve      share of a phase that lies in particles with at least so much of it (by volume or mass)
    exposure curve        share of a phase that lies in particles with at least so much of it at their surface
    grade and recovery    of the best concentrate: particles taken in turn, those with most of the phase first
    classes               free, liberated, middlings, locked: see `CLASSES`

Terms are those of automated mineralogy (QEMSCAN, MLA; Gu, J. Miner. Mater. Charact. Eng. 2:33, 2003). There sections
through particles are measured, which look better liberated than particles are; here particles are seen whole, and no
stereological correction is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Floats = npt.NDArray[np.float64]

CLASSES: Final = (("free", 0.95), ("liberated", 0.9), ("middlings", 0.3), ("locked", 0.0))
"""Names with the least grade of each: a particle is free of other phases from 95 % on, and locked below 30 %."""
POINTS: Final = 101
"""Of a curve: one for each percent."""
_MOST_CLASSES: Final = 12
_UNIT: Final = 1.0
_TINY: Final = 1e-12


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class PhaseAnalysis(_Frozen):
    """One phase in a sample. Shares are from 0 to 1; curves have a point for each percent from 0 to 100."""

    name: str
    volume_share: float = Field(description="in the volume of all particles")
    mass_share: float | None = Field(description="in their mass; None without densities")
    surface_share: float = Field(description="in their surface to the background")
    particles: int = Field(description="particles with any of it")
    inclusions: int = Field(description="pieces enclosed in particles")
    classes: dict[str, float] = Field(description="share of the phase in particles of each class")
    liberated: float = Field(description="share of the phase in particles with more than 90 % of it")
    liberation: tuple[float, ...] = Field(description="share of the phase in particles of at least this grade")
    exposure: tuple[float, ...] = Field(description="share of the phase in particles with at least this at the surface")
    recovery: tuple[float, ...] = Field(description="the same as liberation, at the cuts of grade that `grade` is of")
    grade: tuple[float, ...] = Field(description="grade of all particles of at least this grade together")


class SizeClass(_Frozen):
    """Composition of the particles from one diameter to another."""

    low_mm: float
    high_mm: float
    particles: int
    share: float = Field(description="of the sample that lies in this class")
    grades: dict[str, float] = Field(description="share of each phase in the class")
    distribution: dict[str, float] = Field(description="share of all of a phase that lies in the class")


class CompositionAnalysis(_Frozen):
    """Composition and liberation of a sample."""

    by: Literal["volume", "mass"] = Field(description="what curves, classes and sizes are weighted by")
    particles: int
    left_out: int = Field(description="particles that show no phase")
    phases: tuple[PhaseAnalysis, ...]
    sizes: tuple[SizeClass, ...]


def columns_needed(names: Sequence[str]) -> list[str]:
    """Return the columns of the particle table that an analysis of these phases reads."""
    kinds = ("share", "exposed", "inclusions")
    return ["volume_mm3", "diameter_mm", "surface_area_mm2", *(f"phase_{n}_{k}" for n in names for k in kinds)]


def analyse_composition(
    columns: Mapping[str, npt.NDArray[Any]],
    names: Sequence[str],
    densities: Mapping[str, float] | None = None,
    size_edges_mm: Sequence[float] | None = None,
) -> CompositionAnalysis | None:
    """Return composition and liberation of all particles of a table; None when none of them shows a phase.

    Args:
        columns: arrays (n,) by name, those of `columns_needed`.
        names: of the phases.
        densities: of every phase, in any one unit; grades are by mass then, by volume without.
        size_edges_mm: limits of the classes of diameter, rising, mm; steps of the square root of 2 when left out.

    """
    volume = columns["volume_mm3"].astype(np.float64)
    shares = np.stack([columns[f"phase_{name}_share"].astype(np.float64) for name in names], axis=1)
    known = np.isfinite(shares).all(axis=1) & (volume > 0)
    if not known.any():
        return None
    amounts = shares[known] * volume[known, None]
    weights = amounts if densities is None else amounts * [densities[name] for name in names]
    surface = _surface(columns, names, known)
    total = weights.sum()
    return CompositionAnalysis(
        by="volume" if densities is None else "mass",
        particles=int(known.sum()),
        left_out=int((~known).sum()),
        phases=tuple(
            PhaseAnalysis(
                name=name,
                volume_share=float(amounts[:, p].sum() / amounts.sum()),
                mass_share=None if densities is None else float(weights[:, p].sum() / total),
                surface_share=float(surface[:, p].sum() / max(surface.sum(), _TINY)),
                particles=int((amounts[:, p] > 0).sum()),
                inclusions=int(np.nansum(columns[f"phase_{name}_inclusions"][known])),
                **_liberation(weights, columns[f"phase_{name}_exposed"][known].astype(np.float64), p),
            )
            for p, name in enumerate(names)
        ),
        sizes=_by_size(columns["diameter_mm"][known].astype(np.float64), weights, names, size_edges_mm),
    )


def _surface(columns: Mapping[str, npt.NDArray[Any]], names: Sequence[str], known: npt.NDArray[np.bool_]) -> Floats:
    """Area of each phase at the surface of each particle (n, phases): its share of the surface to the background.

    The whole surface of a particle stands for that to the background: what touches others has no column of its own.
    """
    exposed = np.stack([columns[f"phase_{name}_exposed"][known].astype(np.float64) for name in names], axis=1)
    return np.asarray(np.nan_to_num(exposed) * columns["surface_area_mm2"][known].astype(np.float64)[:, None])


def _liberation(weights: Floats, exposed: Floats, phase: int) -> dict[str, Any]:
    """Curves and classes of one phase."""
    own, all_of_them = weights[:, phase], weights.sum(axis=1)
    whole = max(own.sum(), _TINY)
    grade = own / all_of_them
    cuts = np.linspace(0, 1, POINTS)
    within = [float(own[(grade >= low) & (grade < high)].sum() / whole) for low, high in _limits()]
    recovery, grades = _cumulative(grade, own, cuts), _cumulative(grade, all_of_them, cuts) * all_of_them.sum()
    with np.errstate(all="ignore"):
        best = np.where(grades > 0, recovery * own.sum() / grades, np.nan)
    # Where no particle is left the grade stays that of the last ones.
    last = np.maximum.accumulate(np.where(np.isnan(best), 0, np.arange(POINTS)))
    return {
        "classes": dict(zip((name for name, _ in CLASSES), within, strict=True)),
        "liberated": float(own[grade > 0.9].sum() / whole),
        "liberation": tuple(recovery.tolist()),
        "exposure": tuple(_cumulative(np.nan_to_num(exposed), own, cuts).tolist()),
        "recovery": tuple(recovery.tolist()),
        "grade": tuple(np.nan_to_num(best[last]).tolist()),
    }


def _limits() -> list[tuple[float, float]]:
    lows = [low for _, low in CLASSES]
    return list(zip(lows, [np.inf, *lows[:-1]], strict=True))


def _cumulative(grade: Floats, amount: Floats, cuts: Floats) -> Floats:
    """Share of all amount that has at least the grade of each cut; rounding errors of grades do not count."""
    order = np.argsort(grade, kind="stable")
    above = np.concatenate([np.cumsum(amount[order][::-1])[::-1], [0.0]])
    first = np.searchsorted(grade[order], cuts - 1e-9, side="left")
    return np.asarray(above[first] / max(float(above[0]), _TINY))


def _by_size(
    diameter: Floats, weights: Floats, names: Sequence[str], edges: Sequence[float] | None
) -> tuple[SizeClass, ...]:
    limits = np.asarray(edges, np.float64) if edges is not None else _round_edges(diameter)
    place = np.digitize(diameter, limits)
    found = []
    for k in np.unique(place).tolist():
        inside = weights[place == k]
        low = float(limits[k - 1]) if k > 0 else 0.0
        found.append(
            SizeClass(
                low_mm=low,
                high_mm=float(limits[k]) if k < len(limits) else float(diameter.max()),
                particles=len(inside),
                share=float(inside.sum() / weights.sum()),
                grades={n: float(inside[:, p].sum() / inside.sum()) for p, n in enumerate(names)},
                distribution={
                    n: float(inside[:, p].sum() / max(weights[:, p].sum(), _TINY)) for p, n in enumerate(names)
                },
            )
        )
    return tuple(found)


def _round_edges(diameter: Floats) -> Floats:
    """Limits of diameter in steps of the square root of 2, of 2 or of 4 and so on, a dozen at most, about 1 mm."""
    step = 0.5
    while True:
        low, high = np.floor(np.log2(diameter.min()) / step), np.floor(np.log2(diameter.max()) / step) + 1
        if high - low <= _MOST_CLASSES:
            return np.asarray(_UNIT * 2 ** (step * np.arange(low, high + 1)), np.float64)
        step *= 2
