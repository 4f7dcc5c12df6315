"""Whether a confidence is worth its name: does it tell right particles from wrong ones, and how often is it right.

A predicted particle is right when its intersection over union with a true one exceeds 0.5.

    AUC                 probability that a right particle has a higher confidence than a wrong one; 0.5 is worthless
    calibration error   mean distance between confidence and share of right particles, over ten groups of equally many
                        particles by rising confidence (expected calibration error; Naeini et al., AAAI 2015)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

GROUPS: Final = 10


class Group(BaseModel):
    """Particles of about one confidence."""

    model_config = ConfigDict(frozen=True)

    particles: int
    confidence: float = Field(description="mean")
    right: float = Field(description="share of the particles")


class Reliability(BaseModel):
    """How far a confidence can be relied on."""

    model_config = ConfigDict(frozen=True)

    particles: int = Field(description="with a confidence")
    expected: float = Field(description="share of right particles that their confidences say")
    right: float = Field(description="share of right particles")
    auc: float | None = Field(description="None when all are right, or none is")
    calibration_error: float
    right_without_tenth: float = Field(description="share of right ones without the tenth of lowest confidence")
    groups: tuple[Group, ...]


def reliability(confidence: Floats, right: Flags) -> Reliability | None:
    """Return how far the confidences of particles (n,) can be relied on; None when no particle has one."""
    known = ~np.isnan(confidence)
    confidence, right = confidence[known], right[known]
    if not len(right):
        return None
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, GROUPS) if len(part)]
    groups = tuple(
        Group(particles=len(p), confidence=float(confidence[p].mean()), right=float(right[p].mean())) for p in parts
    )
    return Reliability(
        particles=len(right),
        expected=float(confidence.mean()),
        right=float(right.mean()),
        auc=area_under_curve(confidence, right),
        calibration_error=sum(g.particles * abs(g.confidence - g.right) for g in groups) / len(right),
        right_without_tenth=float(right[order[len(order) // 10 :]].mean()),
        groups=groups,
    )


def area_under_curve(score: Floats, holds: Flags) -> float | None:
    """Return how often a score is higher where something holds than where it does not, ties counted half.

    By ranks (Mann and Whitney 1947). None when it holds for all or for none.
    """
    n, m = int(holds.sum()), int((~holds).sum())
    if not n or not m:
        return None
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean rank of equal scores
    return float((rank[place][holds].sum() - n * (n + 1) / 2) / (n * m))
