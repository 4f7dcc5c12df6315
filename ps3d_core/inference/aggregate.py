"""Weighted sums of overlapping patches, in a window one patch deep that rolls along the first axis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ps3d_core.border_core.classes import CERTAIN
from ps3d_core.errors import Ps3dError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.inference.plan import CLASSES


class RollingAccumulator:
    """Class sums of the voxels of `core` in slices `z` to `z + patch depth`; slices below are finished and gone.

    Patches are added in ascending order of their origin, whatever block they are added for, so sums have the same
    bits in every block.
    """

    def __init__(self, core: Box, weights: torch.Tensor, z: int) -> None:
        """Start at slice `z`. `core` is in padded coordinates, `weights` (z, y, x) float32 on the device to use."""
        depth, _, _ = weights.shape
        _, ny, nx = core.shape
        self._core = core
        self._weights = weights
        self._sums = torch.zeros((CLASSES, depth, ny, nx), dtype=torch.float32, device=weights.device)
        self.z = z

    def add(self, origin: Shape, probabilities: torch.Tensor) -> None:
        """Add one patch: `probabilities` (3, z, y, x) at `origin` (padded coordinates); what is off-core is cut."""
        z, y, x = origin
        if z != self.z:
            raise ValueError(f"patch at slice {z}, the window is at {self.z}")
        patch = Box(origin, (z + self._weights.shape[0], y + self._weights.shape[1], x + self._weights.shape[2]))
        (_, y0, x0), (_, y1, x1) = self._core.start, self._core.stop
        seen = patch.intersect(Box((z, y0, x0), (patch.stop[0], y1, x1)))
        _, from_y, from_x = seen.relative_to(patch).slices
        _, to_y, to_x = seen.relative_to(self._core).slices
        self._sums[:, :, to_y, to_x].addcmul_(
            probabilities[:, :, from_y, from_x], self._weights[None, :, from_y, from_x]
        )

    def advance(self, z: int) -> npt.NDArray[np.uint8]:
        """Move the window up to slice `z`; return what is known of the slices it leaves, (2, dz, y, x) uint8.

        The first is the most probable class of every voxel, the second how probable that is, 255 for certain.
        """
        depth = self._sums.shape[1]
        leaving = z - self.z
        if not 0 < leaving <= depth:
            raise ValueError(f"cannot move the window from slice {self.z} to {z}: patches of depth {depth} leave gaps")
        known = torch.empty((2, leaving, *self._sums.shape[2:]), dtype=torch.uint8, device=self._sums.device)
        for i in range(leaving):
            sums = self._sums[:, i]
            # Also false for NaN: a network that overflows must not pass as background.
            total = sums.sum(dim=0)
            if not bool((total > 0).all()):
                raise Ps3dError(f"slice {self.z + i}: a voxel has no finite probability; the model is not usable")
            known[0, i] = sums.argmax(dim=0)
            known[1, i] = (sums.amax(dim=0) * CERTAIN / total).round_()
        for i in range(depth - leaving):
            self._sums[:, i] = self._sums[:, i + leaving]
        self._sums[:, depth - leaving :] = 0
        self.z = z
        return known.cpu().numpy()
