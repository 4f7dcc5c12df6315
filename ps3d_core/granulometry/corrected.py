"""Figures corrected for what the edge cuts: how the weights of `edge` come to a table, and when they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import shape_text
from ps3d_core.granulometry.curve import Floats
from ps3d_core.granulometry.edge import EdgeWeights
from ps3d_core.granulometry.params import Weighting
from ps3d_core.granulometry.source import Source
from ps3d_core.particles.window import Window

LEAST_WHOLE: Final = 30
LEAST_EFFECTIVE: Final = 15.0
MOST_WEIGHT: Final = 20.0
MOST_BEYOND: Final = 0.02
"""Share of the volume in cut particles that are larger than every whole one."""


@dataclass(frozen=True)
class Seen:
    """What the edge does to the particles of a table.

    Attributes:
        window: that they lie in.
        weights: of particles (n,); 0 for those that do not count.
        flags: which are cut (n,).
        vast: how many could not be whole anywhere in the window.
        beyond: share of the volume in cut particles that are larger than every whole one.

    """

    window: Window
    weights: Floats
    flags: npt.NDArray[np.bool_]
    vast: int
    beyond: float = 0.0

    @property
    def whole(self) -> int:
        """Number of particles that count."""
        return int(np.count_nonzero(self.weights))

    @property
    def cut(self) -> int:
        """Number of particles that are cut."""
        return int(self.flags.sum())

    def of(self, known: npt.NDArray[np.bool_], sizes: Floats, source: Source) -> Seen:
        """Return what it does to those particles alone for which `known` (n,) is true; `sizes` are theirs, mm."""
        weights, flags = (self.weights, self.flags) if known.all() else (self.weights[known], self.flags[known])
        beyond = flags & (sizes > np.max(sizes, where=weights > 0, initial=0.0))
        share = 0.0
        if beyond.any():
            volumes = source.column("volume_mm3")[known]
            share = float(volumes[beyond].sum() / volumes.sum())
        return Seen(self.window, weights, flags, self.vast, share)


def seen_through(source: Source, window: Window) -> Seen | None:
    """Return the weights of all particles of a table in a `window`; None where nothing is cut, or nobody can tell."""
    if window.masked or not source.has_boxes:
        return None
    longest = np.zeros(3, np.int64)

    def look(first: int, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], cut: npt.NDArray[np.bool_]) -> None:
        np.maximum(longest, (high - low).max(axis=0, initial=0), out=longest)

    source.boxes(look)
    z, y, x = (max(1, int(side)) for side in longest)
    by_box = EdgeWeights(window, (z, y, x))
    weights, flags, vast = np.zeros(source.rows), np.zeros(source.rows, np.bool_), np.zeros(source.rows, np.bool_)

    def weigh(first: int, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], cut: npt.NDArray[np.bool_]) -> None:
        rows = slice(first, first + len(cut))
        weights[rows], shares = by_box.of(low, high, cut)
        flags[rows], vast[rows] = cut, shares == 0

    source.boxes(weigh)
    return Seen(window, weights, flags, int(vast.sum()))


def effective(weights: Floats) -> float:
    """Return how many equal weights would say as much as these: (sum)^2 / sum of squares (Kish)."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def doubts_about(seen: Seen, counted: Mapping[Weighting, float]) -> tuple[str, ...]:
    """Return why corrected figures cannot be trusted; empty when they can.

    `counted` are the effective numbers of whole particles by weighting.
    """
    greatest = float(seen.weights.max(initial=0.0))
    few = [f"{number:.0f} by {name}" for name, number in counted.items() if number < LEAST_EFFECTIVE]
    said: list[tuple[bool, str]] = [
        (
            seen.whole < LEAST_WHOLE,
            f"{seen.whole} particles were seen whole; {LEAST_WHOLE} are needed",
        ),
        (
            seen.vast > 0,
            f"{seen.vast} particles are so large that they could be whole nowhere in the window; no whole particle "
            "stands for them",
        ),
        (
            seen.beyond > MOST_BEYOND,
            f"cut particles that are larger than every whole one have {100 * seen.beyond:.0f} % of the volume; the "
            "coarse end is not seen",
        ),
        (
            greatest > MOST_WEIGHT,
            f"one particle stands for {greatest:.0f}; it is nearly as large as the window",
        ),
        (bool(few), f"it rests on few large particles, as if there were {', '.join(few)}"),
    ]
    return tuple(text for holds, text in said if holds)


def window_text(window: Window) -> str:
    """Return what corrected figures are reckoned for, in words."""
    scan = f"a scan of {shape_text(window.shape)} voxels"
    return f"{scan}, {window.region.text}" if window.region else scan
