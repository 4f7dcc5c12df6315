"""What a size analysis says: frozen, of bounded size whatever the table, and ready for JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.granulometry.params import SizeParams, Weighting

FitName = Literal["rosin-rammler", "log-normal"]
Shares = tuple[float, ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Estimate(_Frozen):
    """A size and the interval that resampling gives it; none for too few particles."""

    value: float = Field(description="mm")
    low: float | None = Field(default=None, description="mm")
    high: float | None = Field(default=None, description="mm")


class Distribution(_Frozen):
    """Distribution of a sample under one weighting."""

    weighting: Weighting
    d10: Estimate = Field(description="10 % of the material is finer")
    d50: Estimate = Field(description="half of the material is finer")
    d90: Estimate = Field(description="90 % of the material is finer")
    passing: Shares = Field(description="Q at each of the sizes of the analysis, 0 to 1")
    passing_low: Shares | None = Field(default=None, description="lower ends of its intervals, size by size")
    passing_high: Shares | None = None
    in_classes: Shares = Field(description="share of the material in each class, 0 to 1")

    @property
    def span(self) -> float:
        """Relative width: (D90 - D10) / D50."""
        return (self.d90.value - self.d10.value) / self.d50.value


class Fit(_Frozen):
    """Distribution of two parameters that was fitted, and how good it is."""

    name: FitName
    size_mm: float = Field(description="Rosin-Rammler: x', 63.2 % are finer; log-normal: median; mm")
    width: float = Field(description="Rosin-Rammler: n, the larger the narrower; log-normal: s of ln x")
    r2: float = Field(description="of the line in the linear coordinates of the distribution")
    distance: float = Field(description="largest distance from the curve, share of the material")
    distance_at_mm: float


class SizeClass(_Frozen):
    """Particles between two sieves: not finer than the lower, finer than the upper."""

    lower_mm: float = Field(description="0 for what is below the finest sieve")
    upper_mm: float | None = Field(description="None for what is above the coarsest sieve")
    name: str = Field(description="of the sieve that it lies on")
    number: int
    volume_mm3: float
    mass_mg: float | None


class EdgeCorrection(_Frozen):
    """Figures from whole particles alone, each with the weight of those of its kind that are cut."""

    window: str = Field(description="what it is reckoned for, in words")
    whole: int = Field(description="particles that were seen whole")
    cut: int
    greatest_weight: float
    effective: dict[Weighting, float] = Field(
        description="whole particles of equal weight that would say as much, by weighting"
    )
    distributions: tuple[Distribution, ...]
    doubts: tuple[str, ...] = Field(description="why these figures cannot be trusted; empty when they can")


class SieveComparison(_Frozen):
    """How far a measured curve is from ours."""

    name: str
    weighting: Weighting
    distance: float = Field(description="largest vertical distance (Kolmogorov), share of the material")
    distance_at_mm: float
    area: float = Field(description="between both curves over the logarithm of size, in shares times decades")
    shift: float = Field(description="that area with its sign; above 0 where the measured one is coarser")
    percentiles: dict[str, tuple[float | None, float]] = Field(
        description="D10, D50, D90, mm: measured (None where the curve does not reach), and ours"
    )


class SizeAnalysis(_Frozen):
    """Size distributions of one table."""

    params: SizeParams
    particles: int
    left_out: int = Field(description="particles without this size")
    volume_mm3: float
    mass_mg: float | None
    sizes_mm: tuple[float, ...] = Field(description="at which the curves are given, rising")
    distributions: tuple[Distribution, ...]
    classes: tuple[SizeClass, ...]
    classes_title: str
    fits: dict[Weighting, tuple[Fit, ...]]
    edge: EdgeCorrection | None = Field(description="None where nothing is known of the window")
    sieve: SieveComparison | None
    notes: tuple[str, ...]

    def of(self, weighting: Weighting) -> Distribution:
        """Return the distribution under one weighting."""
        return next(each for each in self.distributions if each.weighting == weighting)

    @property
    def headline(self) -> Distribution:
        """The distribution that is compared, marked and fitted first."""
        return self.of(self.params.headline)
