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
from ps3d_core.phantom.walls import Walls, in_wall, make_walls

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
        particles = _Particles(self.packing.centre, _traits(m, self.packing.radius))
        _paint(start, nearest, fields, particles, _materials(p), make_walls(p), _contacts(p), image, labels)
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


class _Noise(NamedTuple):
    """Random fields at one voxel."""

    waves: np.float32
    grit: np.float32
    fine: np.float32
    coarse: np.float32
    flaw: np.float32


class _Particles(NamedTuple):
    """Particles as the kernel reads them: centres (n, 3) in voxels, and one row of `_traits` for each."""

    centre: npt.NDArray[np.float64]
    traits: F32


# Columns of the table of traits; a plane takes four, unit normal and offset, and a direction three.
_GREY, _OTHER_GREY, _FINE, _COARSE, _KIND, _FLAWS, _CRACK_WIDTH, _RADIUS = range(8)
_SPLIT, _CRACK, _CRACK_END = 8, 12, 16


def _traits(m: Makeup, radius: npt.NDArray[np.float64]) -> F32:
    """Return what decides the inside of each particle as one float32 table: one array is read faster than ten."""
    columns = (m.grey, m.other_grey, m.fine, m.coarse, m.kind, m.flaws, m.crack_width, radius)
    return np.column_stack([*columns, m.split, m.crack, m.crack_end]).astype(np.float32)


class _Contacts(NamedTuple):
    """Which contacts have a gap or a neck, how wide the gap may be, and the size of necks / radius."""

    seed: np.uint64
    gap_fraction: np.float32
    gap_voxels: np.float32
    neck_fraction: np.float32
    neck: np.float32


def _contacts(p: PhantomParams) -> _Contacts:
    f = np.float32
    return _Contacts(key(p.seed, 16), f(p.gap_fraction), f(p.gap_voxels), f(p.neck_fraction), f(p.neck))


class _Materials(NamedTuple):
    """Grey values around and in particles."""

    background: np.float32
    background_texture: np.float32
    air: np.float32
    inclusion: np.float32
    rim: np.float32
    grain: np.float32


def _materials(p: PhantomParams) -> _Materials:
    return _Materials(
        background=np.float32(p.background_grey),
        background_texture=np.float32(p.background_texture),
        air=np.float32(p.air_grey),
        inclusion=np.float32(p.inclusion_grey),
        rim=np.float32(p.rim),
        grain=np.float32(p.grain_voxels),
    )


_Offset = tuple[np.float32, np.float32, np.float32]
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_CONTACT = np.float32(3.0)  # farther than this from the face between two particles there is no gap


@njit(nogil=True, cache=True)
def _paint(
    start: I64,
    nearest: Nearest,
    fields: _Fields,
    particles: _Particles,
    materials: _Materials,
    walls: Walls,
    contacts: _Contacts,
    image: F32,
    labels: npt.NDArray[np.uint32],
) -> None:
    # Arrays are taken out of their records once: reaching into a record for every voxel costs six times the time.
    distance, second, owner, other = nearest
    waves, grit, fine, coarse, flaws, bubbles = fields
    centre, traits = particles
    bubbly = bubbles.shape == coarse.shape
    nz, ny, nx = image.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                around = _matrix(materials, coarse[z, y, x], bubbles[z, y, x] if bubbly else _ZERO)
                wall, around = in_wall(walls, z + start[0], y + start[1], x + start[2], around, materials.air)
                p, q = owner[z, y, x], other[z, y, x]
                d = distance[z, y, x]
                if q >= 0 and contacts.neck_fraction > _ZERO:
                    d = _necked(contacts, traits, p, q, d, second[z, y, x])
                d = max(d, wall)
                labels[z, y, x] = 0
                if p < 0 or d >= _HALF:
                    image[z, y, x] = around
                    continue
                face = _HALF * (second[z, y, x] - distance[z, y, x])
                fill, d = _filled(d, face, _gap(contacts, p, q) if face < _CONTACT else _ZERO)
                if d < _ZERO:
                    labels[z, y, x] = p + 1
                place = _offset(centre, p, z + start[0], y + start[1], x + start[2])
                noise = _Noise(waves[z, y, x], grit[z, y, x], fine[z, y, x], coarse[z, y, x], flaws[z, y, x])
                image[z, y, x] = around + fill * (_inside(traits, p, place, d, noise, materials, around) - around)


@njit(nogil=True, cache=True, inline="always")
def _inside(
    traits: F32,
    p: int,
    offset: _Offset,
    depth: np.float32,
    noise: _Noise,
    materials: _Materials,
    around: np.float32,
) -> np.float32:
    """Grey value inside particle p: minerals, texture, rim, flaws and a crack, through which one sees `around`."""
    size, kind, flaws = traits[p, _RADIUS], traits[p, _KIND], int(traits[p, _FLAWS])
    grey: np.float32 = traits[p, _GREY]
    if kind == 1:
        share = _above(traits, p, _SPLIT, offset) + np.float32(0.2) * size * noise.waves
        grey += (traits[p, _OTHER_GREY] - grey) * _clamp(_HALF + share)
    elif kind == 2:
        share = materials.grain * (noise.coarse - np.float32(0.15))
        grey += (traits[p, _OTHER_GREY] - grey) * _clamp(_HALF + share)
    grey += traits[p, _FINE] * noise.fine + traits[p, _COARSE] * noise.coarse
    grey += materials.rim * max(_ZERO, _ONE + depth / (np.float32(0.35) * size))
    if noise.flaw > _ZERO and flaws & 1:
        grey += materials.inclusion * noise.flaw
    elif noise.flaw < _ZERO and flaws & 2:
        grey += (around - grey) * -noise.flaw
    width = traits[p, _CRACK_WIDTH]
    if width > _ZERO and _along(traits, p, _CRACK_END, offset) > np.float32(-0.3) * size:
        rough = np.float32(0.12) * size * noise.waves + _HALF * noise.grit
        grey += (around - grey) * _slit(abs(_above(traits, p, _CRACK, offset) + rough), width)
    return grey


@njit(nogil=True, cache=True, inline="always")
def _filled(d: np.float32, face: np.float32, gap: np.float32) -> tuple[np.float32, np.float32]:
    """Share of a voxel that a particle fills, and its signed distance, with a gap that begins at `face`."""
    fill = _clamp(_HALF - d)
    if gap > _ZERO:
        fill = min(fill, _ONE - _slit(face, gap))
        d = max(d, _HALF * gap - face)
    return fill, d


@njit(nogil=True, cache=True, inline="always")
def _offset(centre: npt.NDArray[np.float64], p: int, z: int, y: int, x: int) -> _Offset:
    """Offset of a voxel from the centre of particle p."""
    return np.float32(z - centre[p, 0]), np.float32(y - centre[p, 1]), np.float32(x - centre[p, 2])


@njit(nogil=True, cache=True, inline="always")
def _clamp(v: np.float32) -> np.float32:
    return min(max(v, _ZERO), _ONE)


@njit(nogil=True, cache=True, inline="always")
def _slit(s: np.float32, width: np.float32) -> np.float32:
    """Share of a voxel, centred `s` from the middle of a slit of `width`, that lies in the slit."""
    return _clamp(min(s + _HALF, _HALF * width) - max(s - _HALF, -_HALF * width))


@njit(nogil=True, cache=True, inline="always")
def _along(traits: F32, p: int, first: int, offset: _Offset) -> np.float32:
    """How far an offset from the centre of particle p reaches in the direction that begins at column `first`."""
    total: np.float32 = (
        traits[p, first] * offset[0] + traits[p, first + 1] * offset[1] + traits[p, first + 2] * offset[2]
    )
    return total


@njit(nogil=True, cache=True, inline="always")
def _above(traits: F32, p: int, first: int, offset: _Offset) -> np.float32:
    """Signed distance to the plane of particle p that begins at column `first`."""
    total: np.float32 = _along(traits, p, first, offset) - traits[p, first + 3]
    return total


@njit(nogil=True, cache=True, inline="always")
def _matrix(materials: _Materials, texture: np.float32, bubble: np.float32) -> np.float32:
    """Grey value of what particles lie in, with bubbles."""
    grey = materials.background + materials.background_texture * texture
    grey += (materials.air - grey) * bubble
    return grey


@njit(nogil=True, cache=True, inline="always")
def _sintered(contacts: _Contacts, p: int, q: int) -> bool:
    """Whether two particles are joined by a neck: a property of the pair."""
    return bool(unit(hash3(contacts.seed, min(p, q), max(p, q), 1)) < contacts.neck_fraction)


@njit(nogil=True, cache=True, inline="always")
def _necked(contacts: _Contacts, traits: F32, p: int, q: int, d: np.float32, second: np.float32) -> np.float32:
    """Distance to the union of two particles, blended by a parabola where both are close, which fills the wedge."""
    blend = min(contacts.neck * min(traits[p, _RADIUS], traits[q, _RADIUS]), FAR)
    h: np.float32 = blend - (second - d)
    if h <= _ZERO or not _sintered(contacts, p, q):
        return d
    joined: np.float32 = d - h * h / (np.float32(4.0) * blend)
    return joined


@njit(nogil=True, cache=True, inline="always")
def _gap(contacts: _Contacts, p: int, q: int) -> np.float32:
    """Width of the gap between two particles, 0 where they are in full contact: a property of the pair."""
    if q < 0:
        return _ZERO
    h = hash3(contacts.seed, min(p, q), max(p, q), 0)
    width: np.float32 = contacts.gap_voxels * (np.float32(0.4) + np.float32(0.6) * unit(hash3(h, 1, 0, 0)))
    return width if unit(h) < contacts.gap_fraction and not _sintered(contacts, p, q) else _ZERO
