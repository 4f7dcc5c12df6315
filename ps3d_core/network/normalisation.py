"""From a scanner's grey values to network input: subtract an offset, divide by a scale.

Two ways to know them. `ZScore` is fixed numbers, from the data a model was trained on. `PerScan` finds them anew for
every scan, so that a model meets a scanner it never saw. What is far outside the step from surroundings to particles,
corners and metal, is clipped: a network that normalises its own features would otherwise see nothing else in a patch
that holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy.typing as npt

    from ps3d_core.network.intensity import Intensity


class ZScore(BaseModel):
    """Fixed mean and standard deviation (the nnU-Net habit for CT), with or without limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["zscore"] = "zscore"
    mean: Annotated[float, Field(allow_inf_nan=False)]
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    high: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Limits of normalised grey values."""

    @property
    def intensity(self) -> Intensity:
        """Mean and standard deviation as offset and scale."""
        from ps3d_core.network.intensity import (
            Intensity,  # brings numpy, which those who only read parameters do without
        )

        return Intensity(self.mean, self.std, self.low, self.high)


class PerScan(BaseModel):
    """Offset and scale that are measured on each scan.

    "local-contrast" is `per_scan_intensity`; "mean-std" are mean and standard deviation, for networks that were trained
    on grey values normalised so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["per_scan"] = "per_scan"
    method: Literal["local-contrast", "mean-std"] = "local-contrast"
    low: Annotated[float, Field(lt=-1)] | None = -4.0
    high: Annotated[float, Field(gt=1)] | None = 6.0
    """Limits of normalised grey values; with local contrast, surroundings are at about -1, particles at about 1."""

    def intensity(self, blocks: npt.NDArray[Any]) -> Intensity:
        """Return offset and scale of a scan from its `blocks`, with the limits of this rule.

        See `per_scan_intensity` for the blocks.
        """
        from ps3d_core.network.intensity import mean_and_std, per_scan_intensity

        measured = per_scan_intensity(blocks) if self.method == "local-contrast" else mean_and_std(blocks)
        return measured._replace(low=self.low, high=self.high)


def knows_surroundings(rule: ZScore | PerScan) -> bool:
    """Return whether the offset is half-way between surroundings, at -1 then, and particles, at 1."""
    return isinstance(rule, PerScan) and rule.method == "local-contrast"


Normalisation = Annotated[ZScore | PerScan, Field(discriminator="kind")]
