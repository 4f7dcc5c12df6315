"""From how sure a network is to how often it is right.

What a network calls the probability of a class is none: the mean over a particle's voxels orders particles well, the
right before the wrong ones, but a mean of 0.8 does not say that four of five are right. A calibration does, by two
numbers that are found where the truth is known (Platt scaling: Platt, Advances in Large Margin Classifiers, 1999):

    confidence = 1 / (1 + exp(-(slope * log(c / (1 - c)) + offset))),        c the mean certainty of the voxels

It belongs to a model, and travels in its bundle. A particle is right when its intersection over union with a true one
exceeds 0.5.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEWEST: Final = 20
"""Particles, right and wrong together, from which two numbers may be found."""
_CLIP: Final = 1e-3
"""Certainties nearer to 0 or 1 count as this near: they are kept in 1/255."""
_STEPS: Final = 100


class Calibration(BaseModel):
    """How often particles are right of which a network is so certain, and how that is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float = Field(gt=0, le=1000, allow_inf_nan=False)
    offset: float = Field(ge=-1000, le=1000, allow_inf_nan=False)
    particles: int = Field(ge=FEWEST, description="that it was found on")
    right: int = Field(ge=0, description="of these")

    def confidence(self, certainty: Floats) -> Floats:
        """Return the probability of being right, (n,), of particles with these mean certainties; NaN stays NaN."""
        return logistic(self.slope * _log_odds(certainty) + self.offset)


def fit_calibration(certainty: Floats, right: Flags) -> Calibration:
    """Return the calibration that makes what happened most likely.

    `certainty` (n,) are means over particles, 0 to 1, and `right` (n,) says which of these are. Counts are smoothed as
    Platt does, so that particles which are all right give finite numbers. Raise `ValueError` for too few particles.
    """
    if len(right) < FEWEST:
        raise ValueError(f"{len(right)} particles: a calibration wants {FEWEST} at least")
    count = int(right.sum())
    wanted = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    inputs = np.stack([_log_odds(certainty), np.ones(len(right))], axis=1)
    numbers = np.array([1.0, 0.0])
    for _ in range(_STEPS):  # Newton's method; the likelihood is concave
        said = logistic(inputs @ numbers)
        curvature = (inputs * (said * (1 - said))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, inputs.T @ (wanted - said))
        numbers += step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(slope=max(1e-6, float(numbers[0])), offset=float(numbers[1]), particles=len(right), right=count)


def logistic(values: Floats) -> Floats:
    """Return the probabilities, (n,), that odds with these logarithms are."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))))


def _log_odds(certainty: Floats) -> Floats:
    clipped = np.clip(certainty, _CLIP, 1 - _CLIP)
    return np.asarray(np.log(clipped / (1 - clipped)))
