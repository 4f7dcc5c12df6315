"""What speaks against a particle, as columns of the table.

    certainty         mean probability of the classes of its voxels, as the network says it
    confidence        probability that it is right, see `calibration`
    maybe_merged      probability that it is two or more particles, from its shape and size
    maybe_split       probability that it is a part of a particle, from its largest contact
    maybe_split_from  the neighbour that has the rest, the one with the largest contact; 0 for none
    doubts            what of this a person should look at, in words

The two probabilities of shape are logistic:

    merged  -2.46 - 2.29 sphericity + 2.32 ln(diameter / stated particle size) + 1.81 (at the edge of the scan)
    split   -6.96 + 6.06 area of the largest contact / area of the disc of the particle's diameter, at most 1

Their numbers were found on 948 particles of ten phantoms of the families "training" and "wide" (seeds 7001 to 7010),
as the bundled model segments them: 32 merged, 8 split. On 3149 particles of the held-out families, 90 merged and 47
split, they order with an area under the curve of 0.88 and 0.89, and expect 86 and 28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.doubt.calibration import Calibration, logistic
from ps3d_core.network.intensity import Intensity
from ps3d_core.particles.shape import Columns

UNSURE: Final = 0.8
"""Confidence below which a particle is doubtful."""
LIKELY: Final = 0.1
"""Probability from which on a particle may be several, or a part: several times what it is on average. On the held-out
families one in five that are marked so is several, and two in five are parts."""
SMALL: Final = 100
"""Voxels below which nothing can be said of a particle's shape, and little of its size."""

FAINT: Final = 0.0
"""Normalised mean grey value below which a particle is said to have low contrast: half-way up the step."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sureness:
    """What is known of particles beside their voxels; each array has an element per label, that of label 0 first.

    Attributes:
        particle_size: mean diameter as stated, mm.
        contact: float64, mm2, the largest contact of each particle.
        neighbour: uint32, with which it has that; 0 for none.
        certainty: float64, 0 to 1; None where nobody knows.
        calibration: of the model; None where it has none.
        intensity: by which the network's grey values were normalised; None where that is not known.
        cut: bool, whether the region that was segmented cuts the particle; None where it cuts none.

    """

    particle_size: float
    contact: Floats
    neighbour: Labels
    certainty: Floats | None = None
    calibration: Calibration | None = None
    intensity: Intensity | None = None
    cut: Flags | None = None


def doubt_columns(columns: Columns, known: Sureness | None) -> Columns:
    """Return the columns of doubt for particles with these other `columns`; without `known` they have no values."""
    label = columns["label"].astype(np.int64)
    none = np.full(len(label), np.nan)
    certainty = confidence = merged = split = none
    neighbour = np.zeros(len(label), np.uint32)
    if known is not None:
        label = np.minimum(label, len(known.contact) - 1)  # others than are known are damage, which is noticed later
        certainty = none if known.certainty is None else known.certainty[label]
        confidence = none if known.calibration is None else known.calibration.confidence(certainty)
        merged = _merged(columns, known.particle_size)
        split = _split(columns, known.contact[label])
        neighbour = known.neighbour[label]
    return {
        "certainty": certainty,
        "confidence": confidence,
        "maybe_merged": merged,
        "maybe_split": split,
        "maybe_split_from": neighbour,
        "doubts": _in_words(columns, _is_faint(columns, known), confidence, merged, split),
    }


def _merged(columns: Columns, particle_size: float) -> Floats:
    larger = np.log(columns["diameter_mm"] / particle_size)
    return logistic(-2.46 - 2.29 * columns["sphericity"] + 2.32 * larger + 1.81 * columns["touches_border"])


def _split(columns: Columns, contact: Floats) -> Floats:
    disc = np.pi / 4 * columns["diameter_mm"] ** 2
    return logistic(-6.96 + 6.06 * np.minimum(contact / disc, 1))


def _is_faint(columns: Columns, known: Sureness | None) -> Flags:
    """Whether particles are nearer in grey to what is around them, at -1, than to what particles are like, at 1."""
    if known is None or known.intensity is None:
        return np.zeros(len(columns["label"]), np.bool_)
    return np.asarray(known.intensity.normalise(columns["grey_mean"]) < FAINT)


def _in_words(
    columns: Columns, faint: Flags, confidence: Floats, merged: Floats, split: Floats
) -> npt.NDArray[np.object_]:
    reasons: dict[str, Flags] = {
        "unsure": confidence < UNSURE,  # NaN is not
        "maybe merged": merged >= LIKELY,
        "maybe split": split >= LIKELY,
        "small": columns["voxels"] < SMALL,
        "low contrast": faint,
        "cut by the edge": columns["touches_border"].astype(np.bool_),
    }
    words = np.full(len(confidence), "", object)
    for reason, holds in reasons.items():
        words[holds & (words != "")] += "; "
        words[holds] += reason
    return words
