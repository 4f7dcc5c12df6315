"""The grey values a perfect scanner would see, and the labels, on one box.

Edges are anti-aliased over one voxel: what share of a voxel a material fills follows from signed distances. The blur
of the scanner comes later and acts on everything alike: particles, cracks, inclusions, gaps and walls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.fields import hash3, key, smooth_field, unit
from ps3d_core.phantom.minerals import Makeup
from ps3d_core.phantom.packing import Packing
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.shapes import Bank
from ps3d_core.phantom.spheres import sphere_field
from ps3d_core.phantom.stamping import FAR, Nearest, Relief, stamp

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """Everything there is in a phantom before it is scanned."""

    params: PhantomParams
    bank: Bank
    packing: Packing
    makeup: Makeup

    def paint(self, box: Box) -> tuple[F32, npt.NDArray[np.uint32]]:
        """Return grey values (float32, neutral scale) and labels (uint32) of `box`.

        The box may reach beyond the volume.
        """
        p, m = self.params, self.makeup
        fields = self._fields(box)
        relief = Relief(m.dent, m.rough, fields.waves, fields.grit)
        nearest = stamp(self.packing, self.bank, relief, box, self._rows(box))
        image = np.empty(box.shape, np.float32)
        labels = np.empty(box.shape, np.uint32)
        start = np.asarray(box.start, dtype=np.int64)
        gaps = _Gaps(key(p.seed, 16), np.float32(p.gap_fraction), np.float32(p.gap_voxels))
        _paint(start, nearest, fields, self.packing, m, _materials(p), gaps, image, labels)
        return image, labels

    def _fields(self, box: Box) -> _Fields:
        p = self.params
        size = p.particle_size_voxels
        if p.bubble_density > 0:
            bubbles = sphere_field(key(p.seed, 15), box, largest=0.45 * size, density=p.bubble_density, positive=1.0)
        else:
            bubbles = np.zeros((1, 1, 1), np.float32)
        return _Fields(
            waves=smooth_field(key(p.seed, 10), box, max(2.0, 0.55 * size)),
            grit=smooth_field(key(p.seed, 11), box, max(1.5, 0.1 * size)),
            fine=smooth_field(key(p.seed, 12), box, p.texture_voxels),
            coarse=smooth_field(key(p.seed, 13), box, p.grain_voxels),
            flaws=sphere_field(
                key(p.seed, 14),
                box,
                largest=max(0.7, p.inclusion_radius * size),
                density=0.75,
                positive=0.5 if p.pore_fraction > 0 else 1.0,
            ),
            bubbles=bubbles,
        )

    def _rows(self, box: Box) -> I64:
        """Particles that may reach into the box; the list is sorted along z, so only a part of it is looked at."""
        centre, p = self.packing.centre, self.params
        halo = self.packing.reach * (1 + p.lumpiness * 2) + float(FAR) * 1.1 + 3 * p.roughness_voxels
        most = float(halo.max()) if len(halo) else 0.0
        first, last = np.searchsorted(centre[:, 0], [box.start[0] - most, box.stop[0] + most])
        part = slice(int(first), int(last))
        inside = np.ones(part.stop - part.start, np.bool_)
        for axis in range(3):
            inside &= centre[part, axis] + halo[part] >= box.start[axis]
            inside &= centre[part, axis] - halo[part] <= box.stop[axis]
        return (np.flatnonzero(inside) + part.start).astype(np.int64)


class _Fields(NamedTuple):
    """Random fields on the box: four of value noise from coarse to fine, and spheres; no bubbles: one voxel."""

    waves: F32
    grit: F32
    fine: F32
    coarse: F32
    flaws: F32
    bubbles: F32


class _Gaps(NamedTuple):
    """Which contacts have a gap, and how wide it may be."""

    seed: np.uint64
    fraction: np.float32
    voxels: np.float32


class _Materials(NamedTuple):
    """Grey values around and in particles, and the tube (axis (y, x) in voxels; inner radius 0: none)."""

    background: np.float32
    background_texture: np.float32
    air: np.float32
    inclusion: np.float32
    rim: np.float32
    grain: np.float32
    axis: tuple[float, float]
    inner: np.float32
    wall: np.float32
    wall_grey: np.float32


def _materials(p: PhantomParams) -> _Materials:
    return _Materials(
        background=np.float32(p.background_grey),
        background_texture=np.float32(p.background_texture),
        air=np.float32(p.air_grey),
        inclusion=np.float32(p.inclusion_grey),
        rim=np.float32(p.rim),
        grain=np.float32(p.grain_voxels),
        axis=p.tube_axis,
        inner=np.float32(p.tube.radius_voxels if p.tube else 0.0),
        wall=np.float32(p.tube.wall_voxels if p.tube else 0.0),
        wall_grey=np.float32(p.tube.grey if p.tube else 0.0),
    )


_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_CONTACT = np.float32(3.0)  # farther than this from the face between two particles there is no gap


@njit(nogil=True, cache=True)
def _paint(  # noqa: PLR0912
    start: I64,
    nearest: Nearest,
    fields: _Fields,
    packing: Packing,
    makeup: Makeup,
    materials: _Materials,
    gaps: _Gaps,
    image: F32,
    labels: npt.NDArray[np.uint32],
) -> None:
    # Arrays are taken out of their records once: reaching into a record for every voxel costs six times the time.
    distance, second, owner, other = nearest
    grey, other_grey, fine_weight, coarse_weight, kind, has, split, crack, crack_end, crack_width, _, _ = makeup
    waves, grit, fine, coarse, flaws, bubbles = fields
    centre, radius = packing.centre, packing.radius
    bubbly = bubbles.shape == coarse.shape
    nz, ny, nx = image.shape
    for z in range(nz):
        for y in range(ny):
            dy = (y + start[1]) - materials.axis[0]
            for x in range(nx):
                wall = np.float32(-1e6)  # signed distance to the inside of the tube's wall
                if materials.inner > _ZERO:
                    dx = (x + start[2]) - materials.axis[1]
                    wall = np.float32(np.sqrt(dy * dy + dx * dx)) - materials.inner
                around = _surroundings(materials, coarse[z, y, x], bubbles[z, y, x] if bubbly else _ZERO, wall)
                d = max(distance[z, y, x], wall)
                p = owner[z, y, x]
                labels[z, y, x] = 0
                if p < 0 or d >= _HALF:
                    image[z, y, x] = around
                    continue
                fill = _clamp(_HALF - d)
                face = _HALF * (second[z, y, x] - distance[z, y, x])
                q = other[z, y, x]
                if q >= 0 and face < _CONTACT:
                    width = _gap(gaps, p, q)
                    if width > _ZERO:
                        fill = min(fill, _ONE - _slit(face, width))
                        d = max(d, _HALF * width - face)
                if d < _ZERO:
                    labels[z, y, x] = p + 1
                offset = (
                    np.float32((z + start[0]) - centre[p, 0]),
                    np.float32((y + start[1]) - centre[p, 1]),
                    np.float32((x + start[2]) - centre[p, 2]),
                )
                size = np.float32(radius[p])
                g = grey[p]
                if kind[p] == 1:
                    s = _above(split, p, offset) + np.float32(0.2) * size * waves[z, y, x]
                    g += (other_grey[p] - g) * _clamp(_HALF + s)
                elif kind[p] == 2:
                    s = materials.grain * (coarse[z, y, x] - np.float32(0.15))
                    g += (other_grey[p] - g) * _clamp(_HALF + s)
                g += fine_weight[p] * fine[z, y, x] + coarse_weight[p] * coarse[z, y, x]
                g += materials.rim * max(_ZERO, _ONE + d / (np.float32(0.35) * size))
                flaw = flaws[z, y, x]
                if flaw > _ZERO and has[p] & 1:
                    g += materials.inclusion * flaw
                elif flaw < _ZERO and has[p] & 2:
                    g += (around - g) * -flaw
                if crack_width[p] > _ZERO and _along(crack_end, p, offset) > np.float32(-0.3) * size:
                    s = _above(crack, p, offset) + (np.float32(0.12) * size * waves[z, y, x] + _HALF * grit[z, y, x])
                    g += (around - g) * _slit(abs(s), crack_width[p])
                image[z, y, x] = around + fill * (g - around)


@njit(nogil=True, cache=True, inline="always")
def _clamp(v: np.float32) -> np.float32:
    return min(max(v, _ZERO), _ONE)


@njit(nogil=True, cache=True, inline="always")
def _slit(s: np.float32, width: np.float32) -> np.float32:
    """Share of a voxel, centred `s` from the middle of a slit of `width`, that lies in the slit."""
    return _clamp(min(s + _HALF, _HALF * width) - max(s - _HALF, -_HALF * width))


@njit(nogil=True, cache=True, inline="always")
def _along(directions: F32, p: int, offset: tuple[np.float32, np.float32, np.float32]) -> np.float32:
    """How far an offset from the particle's centre reaches in the direction of row p."""
    total: np.float32 = directions[p, 0] * offset[0] + directions[p, 1] * offset[1] + directions[p, 2] * offset[2]
    return total


@njit(nogil=True, cache=True, inline="always")
def _above(planes: F32, p: int, offset: tuple[np.float32, np.float32, np.float32]) -> np.float32:
    """Signed distance to the plane of row p."""
    total: np.float32 = _along(planes, p, offset) - planes[p, 3]
    return total


@njit(nogil=True, cache=True, inline="always")
def _surroundings(materials: _Materials, texture: np.float32, bubble: np.float32, wall: np.float32) -> np.float32:
    """Grey value where there is no particle: matrix with bubbles, wall of the tube, air outside."""
    grey = materials.background + materials.background_texture * texture
    grey += (materials.air - grey) * bubble
    if wall > -_ONE:
        outside = _clamp(_HALF + wall - materials.wall)
        solid = _clamp(_HALF + wall) - outside
        grey = (_ONE - solid - outside) * grey + solid * materials.wall_grey + outside * materials.air
    return grey


@njit(nogil=True, cache=True, inline="always")
def _gap(gaps: _Gaps, p: int, q: int) -> np.float32:
    """Width of the gap between two particles, 0 where they are in full contact: a property of the pair."""
    h = hash3(gaps.seed, min(p, q), max(p, q), 0)
    width: np.float32 = gaps.voxels * (np.float32(0.4) + np.float32(0.6) * unit(hash3(h, 1, 0, 0)))
    return width if unit(h) < gaps.fraction else _ZERO
