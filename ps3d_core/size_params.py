"""What a size analysis can be told."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ps3d_core.phases import require_told_apart
from ps3d_core.quantities import Unit

SeriesName = Literal["iso", "iso-r20", "iso-r40-3", "astm"]
SizeKind = Literal["equivalent", "feret-min", "sieve"]
Weighting = Literal["number", "volume", "mass"]
WEIGHTINGS: Final[tuple[Weighting, ...]] = ("number", "volume", "mass")

MOST_EDGES: Final = 200
MOST_POINTS: Final = 2000
MOST_PHASES: Final = 20

Density = Annotated[float, Field(gt=0, le=30, allow_inf_nan=False), Unit("g/cm3")]
"""Density of what particles are made of; the densest element has 22.6."""
PhaseName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^\w[\w-]*$")]
Length = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), Unit("mm")]
Edges = Annotated[tuple[Length, ...], Field(min_length=1, max_length=MOST_EDGES)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _rising(values: tuple[float, ...], what: str) -> None:
    for one, other in pairwise(values):
        if other <= one:
            raise ValueError(f"{what} {other:g} mm after {one:g} mm; must rise, give each once and in order")


class MeasuredCurve(BaseModel):
    """Cumulative distribution that an instrument has measured: a stack of sieves, a Camsizer, a laser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=200, description="what it is called in charts")
    size_mm: Annotated[tuple[Length, ...], Field(min_length=2, max_length=MOST_POINTS)] = Field(description="rising")
    passing: Annotated[tuple[Share, ...], Field(min_length=2, max_length=MOST_POINTS)] = Field(
        description="share that is finer than each size, 0 to 1, not falling"
    )

    @model_validator(mode="after")
    def _is_a_curve(self) -> MeasuredCurve:
        if len(self.size_mm) != len(self.passing):
            raise ValueError(f"{len(self.size_mm)} sizes with {len(self.passing)} shares; give as many of both")
        _rising(self.size_mm, "size")
        for size, one, other in zip(self.size_mm[1:], self.passing, self.passing[1:], strict=False):
            if other < one:
                raise ValueError(
                    f"passing falls from {100 * one:g} % to {100 * other:g} % at {size:g} mm; "
                    "a cumulative curve never falls: correct it, or say which kind of column it is"
                )
        return self


class SizeParams(BaseModel):
    """Parameters of size distributions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: SizeKind = Field(
        default="equivalent",
        description="diameter of the ball of equal volume, minimum Feret diameter, or the square hole that a particle "
        "passes",
    )
    weighting: Weighting | None = Field(
        default=None,
        description="distribution that is compared, marked and fitted first; by mass where densities are known, by "
        "volume elsewhere, when left out",
    )
    density: Density | None = Field(default=None, description="of all particles, for distributions by mass")
    densities: Annotated[dict[PhaseName, Density], Field(max_length=MOST_PHASES)] = Field(
        default={}, description="of each phase, g/cm3; the table has their shares"
    )
    classes: SeriesName | Edges = Field(
        default="iso", description="sieves between which classes lie: of a standard, or their apertures, mm"
    )
    sieve: MeasuredCurve | None = Field(default=None, description="measured curve to compare with")
    confidence: float = Field(
        default=0.95, ge=0.5, le=0.999, description="probability with which an interval is to hold the true value"
    )

    @field_validator("classes")
    @classmethod
    def _edges_rise(cls, classes: SeriesName | tuple[float, ...]) -> SeriesName | tuple[float, ...]:
        if not isinstance(classes, str):
            _rising(classes, "edge")
        return classes

    @field_validator("densities")
    @classmethod
    def _phases_are_told_apart(cls, densities: dict[str, float]) -> dict[str, float]:
        require_told_apart(("phase", name) for name in densities)
        return densities

    @model_validator(mode="after")
    def _mass_is_known(self) -> SizeParams:
        if self.density is not None and self.densities:
            raise ValueError("one density of all particles, and those of phases; give one or the others")
        if self.weighting == "mass" and self.density is None and not self.densities:
            raise ValueError("distributions by mass without a density; give one in g/cm3")
        return self

    @property
    def knows_mass(self) -> bool:
        """Whether there is a distribution by mass."""
        return self.density is not None or bool(self.densities)

    @property
    def weightings(self) -> tuple[Weighting, ...]:
        """The distributions that there are."""
        return WEIGHTINGS if self.knows_mass else WEIGHTINGS[:2]

    @property
    def headline(self) -> Weighting:
        """The distribution that is compared, marked and fitted first."""
        return self.weighting or self.weightings[-1]
