"""Phases and background as kernels want them: arrays over materials and images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.phases import Phases

Floats = npt.NDArray[np.float32]


class Materials(NamedTuple):
    """Grey values of m phases in k images, float32.

    low, high: (m, k) boxes of the phases, infinite where an image does not matter.
    mean: (m, k) of the pure phases, NaN where it is not known.
    background, noise: (k,), NaN where they are to be estimated.
    weight: (k,) by which squares of differences count, so that images of other contrast count alike.
    blur: standard deviation of the point spread function, voxels, NaN where it is to be estimated.
    """

    low: Floats
    high: Floats
    mean: Floats
    background: Floats
    noise: Floats
    weight: Floats
    blur: np.float32


def materials_of(phases: Phases) -> Materials:
    """Return phases as arrays, with the images in the order of `phases.images`."""
    images = phases.images
    boxes = [[phase.intervals.get(image) for image in images] for phase in phases.phases]
    mean = np.array([[phase.mean(image) for image in images] for phase in phases.phases])
    with np.errstate(all="ignore"):
        known = np.where(np.isnan(mean), np.nanmean(mean, axis=0), mean)
    span = np.ptp(known, axis=0)
    return Materials(
        low=_f([[-np.inf if box is None else box.low for box in row] for row in boxes]),
        high=_f([[np.inf if box is None else box.high for box in row] for row in boxes]),
        mean=_f(mean),
        background=_f([phases.background.get(image, np.nan) for image in images]),
        noise=_f([phases.noise.get(image, np.nan) for image in images]),
        weight=_f(1 / np.where(span > 0, span, _widths(phases)) ** 2),
        blur=np.float32(np.nan if phases.blur_voxels is None else phases.blur_voxels),
    )


def _widths(phases: Phases) -> npt.NDArray[np.float64]:
    """Width of the widest interval in each image: a scale where there is one mean only."""
    return np.array(
        [
            max((box.high - box.low for phase in phases.phases if (box := phase.intervals.get(image))), default=1.0)
            for image in phases.images
        ]
    )


def _f(values: object) -> Floats:
    return np.asarray(values, np.float32)
