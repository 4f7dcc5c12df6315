"""Whether the result of a scan can be used: the verdict that its report opens with.

    good            the model knows this material: use the figures
    doubtful        something speaks against them: look at the pictures, and at what is named
    not understood  what was found has little to do with particles
    unknown         nobody has measured how often the model is right

What tells them apart was found on 16 phantoms of the held-out families, and on scans without particles, or with
particles that noise hides. Of what the network took for particles it was sure in the first: 0 to 1.2 % of the volume
was dropped as uncertain, and the particles kept were expected right to 97 % or more. Of smooth noise, foam, and
particles darker than their surroundings 26 % to all of it was dropped. Particles at 0.4 times the noise lie between,
with 10 %. The median diameter was 0.8 to 1.0 times the stated size in the first; fibres and letters, of which the
network is sure, had 0.4 to 0.6.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.particles.distribution import SizeDistribution, size_distribution
from ps3d_core.particles.doubt import UNSURE

Grade = Literal["good", "doubtful", "not understood", "unknown"]

DOUBTFUL: Final[tuple[Grade, ...]] = ("doubtful", "not understood")
"""Grades of results that a person should look at before they are used."""
MOST_DROPPED: Final = 0.03
"""Of the volume of what looked like particles, as uncertain, in a good result."""
DROPPED_OF_NOISE: Final = 0.2
"""From here on the rest is not to be trusted either."""
LEAST_RIGHT: Final = 0.93
"""Expected share of right particles in a good result."""
RIGHT_OF_NOISE: Final = 0.7
SIZES: Final = (0.65, 1.5)
"""Median diameter in a good result, as a share of the stated particle size."""
MOST_CUT: Final = 0.9
"""Share of particles at the edge of the scan beyond which sizes are not compared: of few slices all are cut."""
FEW: Final = 20
"""Particles below which no distribution can be given."""
BIAS: Final = 0.05
"""Largest difference between expected and true share of right particles over the held-out scans."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Verdict(BaseModel):
    """How far the result of a scan can be trusted."""

    model_config = ConfigDict(frozen=True)

    grade: Grade
    reasons: tuple[str, ...] = Field(description="what speaks against the result, the worst first")
    right: float | None = Field(description="expected share of right particles; None where nobody knows")
    right_interval: tuple[float, float] | None = Field(description="that the true share lies in, 19 of 20 times")
    doubtful: int = Field(description="particles with a confidence below 0.8")
    doubtful_volume: float = Field(description="share of the volume of all particles that lies in those")
    dropped_volume: float = Field(description="share of the volume of what looked like particles, as uncertain")
    merged: float = Field(description="expected number of particles that are several")
    split: float = Field(description="expected number of particles that are parts")
    sizes_without: SizeDistribution | None = Field(description="by volume, of all particles but the doubtful")

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return {
            "good": "The model knows this material: the figures can be used.",
            "doubtful": "Something speaks against this result: look at it before its figures are used.",
            "not understood": "The model does not understand this scan: do not use the figures.",
            "unknown": "Nobody has measured how often this model is right: judge by the pictures.",
        }[self.grade]

    @property
    def doubt(self) -> str | None:
        """Grade, and what speaks most against the result; None for a good one, and where nobody knows."""
        return f"{self.grade}: {self.reasons[0]}" if self.grade in DOUBTFUL else None


class Evidence(BaseModel):
    """What a verdict is given by, besides the particles.

    dropped_voxels, kept_voxels: on the network grid, of what was dropped as uncertain, and of particles.
    cut: particles that the edge of the scan may have cut; where nearly all are, their sizes say nothing.
    particle_size: as stated, mm.
    spacing: edges of a voxel, mm: one, or three (z, y, x).
    """

    model_config = ConfigDict(frozen=True)

    dropped_voxels: int
    kept_voxels: int
    cut: int
    particle_size: float
    spacing: StatedSpacing


def verdict_on(voxels: Integers, confidence: Floats, merged: Floats, split: Floats, evidence: Evidence) -> Verdict:
    """Return the verdict on a scan with particles of these columns, (n,) each; confidences are NaN where unknown."""
    known = not len(confidence) or not np.isnan(confidence).all()
    doubtful = confidence < UNSURE  # NaN is not
    total = int(voxels.sum())
    dropped = evidence.dropped_voxels / max(1, evidence.dropped_voxels + evidence.kept_voxels)
    right = float(confidence.mean()) if known and len(confidence) else None
    reasons = _reasons(voxels, right, dropped, evidence)
    hopeless = not len(voxels) or dropped > DROPPED_OF_NOISE or (right is not None and right < RIGHT_OF_NOISE)
    grade: Grade = "not understood" if hopeless else "doubtful" if reasons else "good"
    return Verdict(
        grade=grade if known else "unknown",
        reasons=reasons,
        right=right,
        right_interval=None if right is None else _interval(confidence),
        doubtful=int(doubtful.sum()),
        doubtful_volume=int(voxels[doubtful].sum()) / max(1, total),
        dropped_volume=dropped,
        merged=float(np.nansum(merged)),
        split=float(np.nansum(split)),
        sizes_without=size_distribution(voxels[~doubtful], evidence.spacing, "volume"),
    )


def _reasons(voxels: Integers, right: float | None, dropped: float, evidence: Evidence) -> tuple[str, ...]:
    if not len(voxels):
        what = "nothing that looks like a particle" if not dropped else "only what the network is not sure of"
        return (f"no particle was found: {what}",)
    reasons = []
    if dropped > MOST_DROPPED:
        reasons.append(f"of {100 * dropped:.0f} % of what looked like particles the network was not sure: left out")
    if right is not None and right < LEAST_RIGHT:
        reasons.append(f"only {100 * right:.0f} % of the particles are expected to be right")
    median = size_distribution(voxels, evidence.spacing, "number")
    ratio = median.d50 / evidence.particle_size if median else 1.0
    if evidence.cut <= MOST_CUT * len(voxels) and not SIZES[0] <= ratio <= SIZES[1]:
        stated = f"{evidence.particle_size:.3g} mm"
        reasons.append(f"the median particle is {ratio:.2f} times as large as was stated, {stated}")
    if len(voxels) < FEW:
        reasons.append(f"{len(voxels)} particles are too few for a size distribution")
    return tuple(reasons)


def _interval(confidence: Floats) -> tuple[float, float]:
    """Interval of the share of right particles: chance, and what a calibration can be off on a scan."""
    mean = float(confidence.mean())
    chance = 1.96 * float(np.sqrt((confidence * (1 - confidence)).sum())) / len(confidence)
    return max(0.0, mean - chance - BIAS), min(1.0, mean + chance + BIAS)
