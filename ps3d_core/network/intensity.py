"""Offset and scale of grey values, measured on a scan.

They have to survive what a field of view holds besides particles: plenty of air or none, a tube wall brighter than
everything else, constant black corners. Mean and standard deviation of a whole scan follow those proportions. What does
not is the grey-value step where particles meet what surrounds them, so `per_scan_intensity` looks for the step locally:

    a small block's variance ~ noise                inside air, inside a particle, none in a black corner
                             ~ noise + step^2 / 4   where a block holds both

Every block votes with a weight from 0 (noise) to 1 (structure). The weighted median of the blocks' means is the offset,
the grey value half-way up the step; the weighted median of their standard deviations is the scale. The result lies
in the middle of a step of height about 2. The rim of a constant corner is a step as well, and can be far higher, so
blocks on it do not vote as long as others are left.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_NOISE_PERCENTILE: Final = 10
_FILL_SHARE: Final = 0.01  # of all blocks are constant, at one value: a corner, not chance
_ENOUGH_VOTES: Final = 0.05  # per block that is not constant; below, what surrounds the particles is itself constant


class Intensity(NamedTuple):
    """Offset and scale of a scan's grey values, in the scan's own units, and limits of the normalised ones."""

    offset: float
    scale: float
    low: float | None = None
    high: float | None = None

    def turned(self) -> Intensity:
        """Return the normalisation that turns grey values round about the offset: what is dark becomes bright."""
        return self._replace(scale=-self.scale)

    def normalise(self, grey: npt.NDArray[Any]) -> FloatArray:
        """Return (grey - offset) / scale as float32, clipped to the limits, any shape; the input is not changed."""
        values = grey.astype(np.float32)
        self.normalise_in_place(values)
        return values

    def normalise_in_place(self, values: FloatArray) -> None:
        """Do to `values` what `normalise` does."""
        values -= np.float32(self.offset)
        values /= np.float32(self.scale)
        if self.low is not None or self.high is not None:
            np.clip(values, self.low, self.high, out=values)


def per_scan_intensity(blocks: npt.NDArray[Any]) -> Intensity:
    """Return offset and scale of a scan from small blocks sampled all over it.

    Args:
        blocks: (n, b, b, b) raw grey values, any numeric type; b about 16, n a few hundred; blocks at the scan's
            edge may be padded with NaN. Not changed.

    Returns:
        Offset and scale such that (grey - offset) / scale suits a model with `PerScan`. A scan without any contrast
        gives its value as offset and scale 1.

    """
    if not blocks.size:
        return Intensity(0.0, 1.0)
    values = blocks.reshape(len(blocks), -1).astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    values = values[~np.isnan(values).all(axis=1)]
    if not values.size:
        return Intensity(0.0, 1.0)
    means, variances = np.nanmean(values, axis=1), np.nanvar(values, axis=1)
    if not (variances > 0).any():
        return Intensity(float(np.median(means)), 1.0)
    weights = _votes(values, variances)
    return Intensity(_weighted_median(means, weights), _weighted_median(np.sqrt(variances), weights))


def mean_and_std(blocks: npt.NDArray[Any]) -> Intensity:
    """Return mean and standard deviation of all finite grey values, any shape, as offset and scale.

    The scale is 1 where there is no contrast.
    """
    values = blocks[np.isfinite(blocks)].astype(np.float64)
    if not values.size:
        return Intensity(0.0, 1.0)
    return Intensity(float(values.mean()), float(values.std()) or 1.0)


def _votes(values: npt.NDArray[np.float64], variances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight of each block; blocks on the rim of constant corners have none unless there is hardly another."""
    constant, counts = np.unique(values[variances == 0][:, 0], return_counts=True)
    fill = constant[counts >= _FILL_SHARE * len(values)]
    inner = np.where(np.isin(values, fill).any(axis=1), 0.0, variances)
    votes = _structure(inner)
    if votes.sum() < _ENOUGH_VOTES * (variances > 0).sum():
        votes = _structure(variances)
    return votes if votes.any() else variances


def _structure(variances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From 0 for blocks of noise to 1 for blocks with a step; the quietest blocks say what noise is."""
    if not variances.any():
        return variances
    noise = np.percentile(variances[variances > 0], _NOISE_PERCENTILE)
    return np.asarray(np.clip(1 - 2 * noise / np.maximum(variances, noise), 0, 1))


def _weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """The smallest value at which half of all weight is reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
