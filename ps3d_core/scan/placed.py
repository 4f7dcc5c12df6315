"""Where the voxels of a volume lie, for those who write it."""

from __future__ import annotations

from dataclasses import dataclass

from ps3d_core.store.ome import Spacing


@dataclass(frozen=True, slots=True)
class Placed:
    """Edges of a voxel and centre of the first one, both (z, y, x)."""

    spacing: Spacing | None
    """mm; None where it is unknown."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """mm where there is a spacing, else voxels."""
