"""What particles are made of: one row of grey values, textures and flaws per particle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.phantom.params import PhantomParams

Floats = npt.NDArray[np.float32]


class Makeup(NamedTuple):
    """The inside of each particle (float32 unless said otherwise; n rows).

    grey, other_grey: of the host and the second mineral; fine, coarse: texture amplitudes (signed);
    kind: (n,) uint8, 0 pure, 1 split by a wavy plane, 2 intergrown grains;
    flaws: (n,) uint8, bit 1 has inclusions, bit 2 has pores;
    split, crack: (n, 4) unit normal and offset (voxels) of a plane through the particle; crack_end: (n, 3) direction in
    which the crack runs; crack_width: voxels, 0 is none; dent, rough: (n,) height of surface waves (voxels, signed).
    """

    grey: Floats
    other_grey: Floats
    fine: Floats
    coarse: Floats
    kind: npt.NDArray[np.uint8]
    flaws: npt.NDArray[np.uint8]
    split: Floats
    crack: Floats
    crack_end: Floats
    crack_width: Floats
    dent: Floats
    rough: Floats


def make_up(params: PhantomParams, radius: npt.NDArray[np.float64]) -> Makeup:
    """Draw the inside of every particle of a list with these radii."""
    rng = _draws(params)
    n = len(radius)
    greys = np.array([m.grey for m in params.minerals])
    textures = np.array([m.texture for m in params.minerals])
    host, guest = _minerals(params, rng, n)
    spread = params.grey_variation * rng.standard_normal(n).clip(-2.5, 2.5)
    composite = rng.random(n) < params.composite_fraction
    cracked = rng.random(n) < params.crack_fraction
    inclusions = rng.random(n) < params.inclusion_fraction
    pores = rng.random(n) < params.pore_fraction
    shift = np.where(guest == host, rng.choice([-1, 1], n) * rng.uniform(0.06, 0.18, n), 0.0)
    strength = textures[host] * rng.uniform(0.3, 1.0, n)
    turn = rng.uniform(0, np.pi / 2, n)
    return Makeup(
        grey=_f(greys[host] + spread),
        other_grey=_f((greys[guest] + spread) * (1 + shift)),
        fine=_f(strength * np.cos(turn) * rng.choice([-1, 1], n)),
        coarse=_f(strength * np.sin(turn) * rng.choice([-1, 1], n)),
        kind=np.where(composite, rng.integers(1, 3, n), 0).astype(np.uint8),
        flaws=(inclusions + 2 * pores).astype(np.uint8),
        split=_planes(rng, radius, 0.5),
        crack=_planes(rng, radius, 0.4),
        crack_end=_f(_directions(rng, n)),
        crack_width=_f(np.where(cracked, params.crack_voxels * rng.uniform(0.3, 1.0, n), 0.0)),
        dent=_f(params.lumpiness * radius * rng.uniform(-1, 1, n)),
        rough=_f(params.roughness_voxels * rng.uniform(-1, 1, n)),
    )


def minerals_of(params: PhantomParams, n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the numbers, from 0, of the mineral of each of n particles, and of the second one that some have."""
    return _minerals(params, _draws(params), n)


def _draws(params: PhantomParams) -> np.random.Generator:
    return np.random.default_rng([params.seed, 3])


def _minerals(
    params: PhantomParams, rng: np.random.Generator, n: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    weights = np.array([m.weight for m in params.minerals])
    weights = weights / weights.sum()
    return rng.choice(len(weights), n, p=weights), rng.choice(len(weights), n, p=weights)


def _f(values: npt.NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)


def _directions(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    v = rng.standard_normal((n, 3))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def _planes(rng: np.random.Generator, radius: npt.NDArray[np.float64], offset: float) -> Floats:
    """Planes that pass a particle's centre within `offset` radii."""
    n = len(radius)
    return _f(np.column_stack([_directions(rng, n), radius * rng.uniform(-offset, offset, n)]))
