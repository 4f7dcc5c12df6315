"""How densely particles lie: voxels of particles and of the region, slice by slice and ring by ring around an axis.

All are counts of voxels, so blocks add up exactly. A ring is one edge of a voxel along x wide. The axis is that of the
cylinder that the region has, that of its container before others, else the one through the middle of the scan along z.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.particles.label_index import Labels
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Coordinates, Cylinder, Region

VERSION: Final = 1
"""Raise when a change of the code changes what is counted: finished work of older code is then redone."""

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_EVERYWHERE: Final = np.empty((0, 0, 0), np.bool_)


class Packing(NamedTuple):
    """Voxels by slice, and by ring around the axis, of a part of the scan.

    first_slice, first_ring: number in the scan of the first of each.
    slices: (2, n) int64, voxels of particles in the region, and of the region.
    rings: (2, m) int64, likewise.
    """

    first_slice: int
    slices: Counts
    first_ring: int
    rings: Counts

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return named arrays for a file."""
        return {name: np.asarray(value) for name, value in self._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Packing:
        """Return what `to_arrays` made these arrays of."""
        return cls(int(arrays["first_slice"]), arrays["slices"], int(arrays["first_ring"]), arrays["rings"])


def packing_axis(region: Region, shape: Shape) -> Cylinder:
    """Return the axis that rings lie around, as a cylinder of any radius, in the units of `region`."""
    for cylinder in sorted(region.cylinders, key=lambda each: each.cuts):
        return cylinder
    _, y, x = ((n - 1) / 2 * edge for n, edge in zip(shape, region.edges, strict=True))
    return Cylinder(kind="given", centre=(y, x), radius=1.0)


def packing_of(labels: Labels, box: Box, region: Region, shape: Shape) -> Packing:
    """Count the voxels of one block.

    Args:
        labels: of the block, uint32 (z, y, x), 0 is no particle.
        box: where it lies in the scan.
        region: what is counted, in voxels of the scan.
        shape: of the scan.

    """
    inside = GridRegion(region, shape, shape).inside(box) if region else _EVERYWHERE
    axis, slices, parts = packing_axis(region, shape), [], []
    for slab in _on_one_axis(axis, box):
        own = slab.relative_to(box).slices
        along, across = _counted(labels[own], inside[own] if region else inside)
        slices.append(along)
        parts.append(_rings(across, slab, axis, region.edges))
    return Packing(box.start[0], np.concatenate(slices, axis=1), *_added(parts))


def merged_packing(parts: Iterator[Packing], shape: Shape, region: Region) -> Packing:
    """Return the counts of the whole scan of `shape` from those of its blocks."""
    slices, rings = np.zeros((2, shape[0]), np.int64), np.zeros((2, _most_rings(region, shape)), np.int64)
    for part in parts:
        slices[:, part.first_slice : part.first_slice + part.slices.shape[1]] += part.slices
        rings[:, part.first_ring : part.first_ring + part.rings.shape[1]] += part.rings
    used = np.flatnonzero(rings[1])
    return Packing(0, slices, 0, rings[:, : used[-1] + 1 if len(used) else 0])


def _on_one_axis(axis: Cylinder, box: Box) -> Iterator[Box]:
    """The box in parts for which the axis goes through one place: slices where it is tilted."""
    return box.slabs(1) if any(axis.tilt) else iter([box])


def _rings(across: Counts, box: Box, axis: Cylinder, edges: Spacing) -> tuple[int, Counts]:
    """Number of the first ring, and counts (2, m), from counts (2, y, x) along z."""
    ring = _ring_of(axis, box, edges)
    first = int(ring.min())
    places = (ring - first).ravel()
    # Weights are added as float64, which holds counts of voxels exactly.
    counts = [np.bincount(places, weights=each.ravel()).astype(np.int64) for each in across]
    return first, np.stack(counts)


def _ring_of(axis: Cylinder, box: Box, edges: Spacing) -> npt.NDArray[np.int64]:
    """Ring that each column (y, x) of a box lies in, as far as its first slice says."""
    z, y, x = (np.asarray(np.arange(box.start[k], box.stop[k]) * edges[k], np.float64) for k in range(3))
    at: Coordinates = (z[:1, None], y[:, None], x[None, :])
    return np.asarray(np.floor(axis.beyond(at) + axis.radius)).astype(np.int64)


def _added(parts: list[tuple[int, Counts]]) -> tuple[int, Counts]:
    first = min(start for start, _ in parts)
    total = np.zeros((2, max(start + counts.shape[1] for start, counts in parts) - first), np.int64)
    for start, counts in parts:
        total[:, start - first : start - first + counts.shape[1]] += counts
    return first, total


def _most_rings(region: Region, shape: Shape) -> int:
    """Rings that a scan has at most: those of the corners of its first and last slice, and one more."""
    axis, (depth, height, width) = packing_axis(region, shape), shape
    ends = [Box((z, 0, 0), (z + 1, height, width)) for z in {0, depth - 1}]
    return (
        max(int(_ring_of(axis, end, region.edges)[:: max(1, height - 1), :: max(1, width - 1)].max()) for end in ends)
        + 2
    )


def _counted(labels: Labels, inside: Flags) -> tuple[Counts, Counts]:
    """Voxels of particles and of the region, by slice (2, z) and by column (2, y, x)."""
    depth, height, width = labels.shape
    slices, columns = np.zeros((2, depth), np.int64), np.zeros((2, height, width), np.int64)
    if inside.size:
        _count_inside(labels, inside, slices, columns)
    else:
        _count(labels, slices[0], columns[0])
        slices[1], columns[1] = height * width, depth
    return slices, columns


@njit(nogil=True, cache=True)
def _count(labels: Labels, slices: Counts, columns: Counts) -> None:
    found = np.zeros(labels.shape[1:], np.int32)
    for z in range(labels.shape[0]):
        total = np.int64(0)
        for y in range(labels.shape[1]):
            row, line = labels[z, y], found[y]
            count = np.int32(0)
            for x in range(row.size):
                own = np.int32(row[x] != 0)
                line[x] += own
                count += own
            total += count
        slices[z] = total
    columns += found


@njit(nogil=True, cache=True)
def _count_inside(labels: Labels, inside: Flags, slices: Counts, columns: Counts) -> None:
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                if inside[z, y, x]:
                    own = np.int64(labels[z, y, x] != 0)
                    slices[0, z] += own
                    slices[1, z] += 1
                    columns[0, y, x] += own
                    columns[1, y, x] += 1
