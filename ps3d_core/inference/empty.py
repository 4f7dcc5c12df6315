"""Patches that are surely empty: air, epoxy, the outside of a tube, known by their grey values alone.

Where offset and scale follow from the contrast of a scan, surroundings are at about -1 and particles at about 1
(`ps3d_core.network.intensity`). A patch is taken for empty when its grey values, averaged over 3 x 3 x 3 voxels against
noise,

- are all on the far side of the surroundings, `HIGHEST` at most: below the rim of any particle, and
- have one mode that is as deep below its mean as it is high above, but for a factor `SKEW`: noise is symmetric, and a
  particle among surroundings, however faint, is not.

It follows from the patch alone, so blocks and workers have no say in it. A network has most trouble where there is
nothing but noise: it normalises the contrast that it sees.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.nn.functional import avg_pool3d

HIGHEST: Final = -0.5
SKEW: Final = 1.5
ROUNDING: Final = 1e-3
"""A patch without noise has a mean that is not quite its values."""


def facts() -> dict[str, Any]:
    """Return the numbers that decide which patches are empty, by name."""
    return {"highest": HIGHEST, "skew": SKEW}


def surely_empty(patches: torch.Tensor) -> torch.Tensor:
    """Return of patches (B, z, y, x), float32 as the network gets them, whether they are surely empty, bool (B,)."""
    smooth = avg_pool3d(patches[:, None], kernel_size=3, stride=1, padding=1, count_include_pad=False).flatten(1)
    low, high = torch.aminmax(smooth, dim=1)
    mean = smooth.mean(dim=1)
    return (high <= HIGHEST) & (high - mean <= SKEW * (mean - low) + ROUNDING)


def background(patch: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the probabilities (classes, z, y, x) of a patch (z, y, x) in which all is background."""
    probabilities = torch.zeros((classes, *patch.shape), device=patch.device)
    probabilities[0] = 1
    return probabilities
