"""The wide family: the training family, with what scans have that it lacks.

A phantom is drawn from the training family; then a scene, what is around it, flaws and artefacts replace what was
drawn. A third of the scenes are dense packings, in which a network fuses particles most. Chances and ranges follow what
models trained on the training family got wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ps3d_core.geometry.boxes import Shape
from ps3d_core.phantom.draws import log_uniform, sometimes
from ps3d_core.phantom.params import Mineral, Tube, Wall

Drawn = dict[str, Any]

_THINNEST: Final = 2.5  # voxels; thinner plates and smaller grains would leave no trace
_LEAST_CONTRAST: Final = 1.5  # of the contrast to the noise


def widen(rng: np.random.Generator, drawn: Drawn, shape: Shape, size: float) -> Drawn:
    """Return the parameters of a phantom of the wide family, from `drawn` of the training family.

    size: mean particle diameter in voxels.
    """
    scenes, weights = zip(*_SCENES, strict=True)
    scene = scenes[int(rng.choice(len(scenes), p=weights))]
    wide: Drawn = drawn | scene(rng, size)
    wide |= _surroundings(rng, wide, shape, size)
    wide |= _insides(rng, wide, size)
    wide |= _noise(rng, wide, size, coarse=0.6 if scene in (_spheres, _polyhedra) else 0.3)
    return wide | _artefacts(rng, wide, size)


def _close_packed(rng: np.random.Generator) -> Drawn:
    """Random close density, of particles that touch and hardly overlap."""
    return {
        "fill_fraction": rng.uniform(0.55, 0.64),
        "contact": rng.uniform(0.0, 0.02),
        "cohesion": sometimes(rng, 0.5, 0.05, 0.4),
        "relaxation_steps": 160,
        "roughness_voxels": sometimes(rng, 0.3, 0.05, 0.3),
    }


def _spheres(rng: np.random.Generator, size: float) -> Drawn:
    return (
        _close_packed(rng)
        | _gaps(rng)
        | {
            "size_sigma": _sigma(rng, 0.02, 0.3, size),
            "angular_fraction": 0.0,
            "rounded_cuts": 0,
            "elongation": 1 + sometimes(rng, 0.4, 0.05, 0.4),
            "flatness": 1 + sometimes(rng, 0.3, 0.05, 0.3),
            "lumpiness": sometimes(rng, 0.3, 0.01, 0.05),
        }
    )


def _polyhedra(rng: np.random.Generator, size: float) -> Drawn:
    fewest = int(rng.integers(5, 11))
    return (
        _close_packed(rng)
        | _gaps(rng)
        | {
            "size_sigma": _sigma(rng, 0.05, 0.4, size),
            "angular_fraction": rng.uniform(0.7, 1.0),
            "facets": (fewest, fewest + int(rng.integers(0, 7))),
            "edge_rounding": rng.uniform(0.01, 0.3),
            "elongation": rng.uniform(1.0, 1.7),
            "flatness": rng.uniform(1.0, 1.5),
            "lumpiness": sometimes(rng, 0.5, 0.01, 0.08),
        }
    )


def _many_sizes(rng: np.random.Generator, size: float) -> Drawn:
    """Largest to smallest diameter up to 10, by the limits of the packing."""
    return {
        "size_sigma": _sigma(rng, 0.45, 0.7, size),
        "fill_fraction": rng.uniform(0.2, 0.62),
        "contact": rng.uniform(-0.02, 0.05),
        "relaxation_steps": 60,
    }


def _plates_or_needles(rng: np.random.Generator, size: float) -> Drawn:
    flattest, longest = min(6.0, (size / _THINNEST) ** 1.5), min(6.0, (size / _THINNEST) ** 3)
    kind = int(rng.integers(3))
    flatness = rng.uniform(1.0, 1.5) if kind == 0 else rng.uniform(min(2.0, flattest), flattest)
    elongation = rng.uniform(1.0, 1.5) if kind == 1 else rng.uniform(min(2.0, longest), longest)
    if kind == 2:
        flatness, elongation = flatness**0.6, elongation**0.6
    return {
        "flatness": flatness,
        "elongation": elongation,
        "least_aspect": rng.uniform(0.2, 0.8),
        "contact_model": "ellipsoids",
        "contact": rng.uniform(-0.05, 0.02),
        "fill_fraction": rng.uniform(0.1, 0.45),
        "size_sigma": _sigma(rng, 0.05, 0.35, size),
        "relaxation_steps": 80,
        "lumpiness": sometimes(rng, 0.5, 0.01, 0.06),
    }


def _sintered(rng: np.random.Generator, size: float) -> Drawn:
    return {
        "fill_fraction": rng.uniform(0.35, 0.62),
        "contact": rng.uniform(0.0, 0.08),
        "cohesion": rng.uniform(0.4, 1.0),
        "neck_fraction": rng.uniform(0.3, 1.0),
        "neck": rng.uniform(0.1, 0.6),
        "gap_fraction": sometimes(rng, 0.3, 0.1, 0.6),
        "angular_fraction": sometimes(rng, 0.5, 0.1, 0.6),
        "relaxation_steps": 80,
    }


def _as_drawn(rng: np.random.Generator, size: float) -> Drawn:
    return {}


_SCENES: Final[tuple[tuple[Callable[[np.random.Generator, float], Drawn], float], ...]] = (
    (_spheres, 0.15),
    (_polyhedra, 0.2),
    (_many_sizes, 0.13),
    (_plates_or_needles, 0.12),
    (_sintered, 0.1),
    (_as_drawn, 0.3),
)


def _sigma(rng: np.random.Generator, low: float, high: float, size: float) -> float:
    """Spread of ln(diameter), below the one at which many grains would be smaller than `_THINNEST`."""
    most = float(np.log(size / _THINNEST)) / 2
    return float(rng.uniform(min(low, most), min(high, most)))


def _gaps(rng: np.random.Generator) -> Drawn:
    """Contacts without a gap, or with thin ones."""
    return {"gap_fraction": sometimes(rng, 0.4, 0.1, 0.8), "gap_voxels": rng.uniform(0.2, 1.0)}


def _surroundings(rng: np.random.Generator, drawn: Drawn, shape: Shape, size: float) -> Drawn:
    """Nothing but particles; a tube, tilted or not; flat walls; or what was drawn."""
    kind = rng.random()
    if kind < 0.2:
        return {}
    alone: Drawn = {"tube": None, "fov_radius_voxels": None}
    if kind < 0.58:
        return alone
    if rng.random() < 0.4:
        alone["fov_radius_voxels"] = drawn["fov_radius_voxels"]
    solid = {
        "wall_voxels": size * (rng.uniform(1.0, 3.0) if rng.random() < 0.5 else log_uniform(rng, (0.1, 1.0))),
        "grey": float(np.clip(drawn["background_grey"] + _contrast(drawn) * rng.uniform(0.2, 2.2), 0.0, 4.0)),
        "rim": _contrast(drawn) * sometimes(rng, 0.5, -0.2, 0.7),
    }
    if kind < 0.82:
        return alone | {"tube": _tube(rng, solid, shape, size)}
    return alone | {"walls": _flat_walls(rng, solid, shape)}


def _tube(rng: np.random.Generator, solid: Drawn, shape: Shape, size: float) -> Tube:
    """A tube whose inner face passes the volume somewhere, anywhere from narrow to all but flat."""
    half = 0.5 * min(shape[1:])
    radius = log_uniform(rng, (max(2.2 * size, 0.5 * half), max(6.6 * size, 8.0 * half)))
    shift = rng.uniform(-0.15, 0.95) * half - radius if radius > half else rng.uniform(-0.3, 0.3) * half
    angle = rng.uniform(0.0, 2 * np.pi)
    tilt = (sometimes(rng, 0.6, -0.35, 0.35), sometimes(rng, 0.6, -0.35, 0.35))
    offset = (shift * float(np.sin(angle)), shift * float(np.cos(angle)))
    return Tube(radius_voxels=radius, centre_offset_voxels=offset, tilt=tilt, **solid)


def _flat_walls(rng: np.random.Generator, solid: Drawn, shape: Shape) -> tuple[Wall, ...]:
    """One wall of any direction, or some sides and the bottom of an upright cell."""
    half = 0.5 * min(shape)
    if rng.random() < 0.4:
        z, y, x = rng.standard_normal(3)
        return (Wall(normal=(z, y, x), offset_voxels=rng.uniform(-0.2, 0.8) * half, **solid),)
    angle = rng.uniform(0.0, 2 * np.pi)
    sine, cosine = float(np.sin(angle)), float(np.cos(angle))
    sides = [(0.0, sine, cosine), (0.0, cosine, -sine), (0.0, -sine, -cosine), (0.0, -cosine, sine), (1.0, 0.0, 0.0)]
    chosen = rng.permutation(len(sides))[: int(rng.integers(1, 5))]
    return tuple(Wall(normal=sides[i], offset_voxels=rng.uniform(0.2, 1.1) * half, **solid) for i in chosen)


def _insides(rng: np.random.Generator, drawn: Drawn, size: float) -> Drawn:
    """Strong texture, and cracks: dark lines that are not borders."""
    if rng.random() > 0.25:
        return {}
    strength = _contrast(drawn) * rng.uniform(0.1, 0.35)
    minerals = tuple(
        Mineral(grey=mineral.grey, weight=mineral.weight, texture=min(0.5, strength)) for mineral in drawn["minerals"]
    )
    return {
        "minerals": minerals,
        "crack_fraction": sometimes(rng, 0.7, 0.2, 1.0),
        "crack_voxels": rng.uniform(0.5, min(2.5, 0.3 + 0.08 * size)),
    }


def _noise(rng: np.random.Generator, drawn: Drawn, size: float, *, coarse: float) -> Drawn:
    """Coarse noise with chance `coarse`; contrast down to 1.5 times the noise, more where its grain is coarse."""
    noise = {key: drawn[key] for key in ("noise_correlated", "noise_correlation_voxels")}
    if rng.random() < coarse:
        most = min(3.0, 0.5 + 0.12 * size)
        noise = {"noise_correlated": rng.uniform(0.5, 1.0), "noise_correlation_voxels": rng.uniform(0.8, most)}
    grain = noise["noise_correlated"] * noise["noise_correlation_voxels"]
    least = _LEAST_CONTRAST + (12.0 + 10.0 * grain) / size
    limits = (least, 3.0 * least) if rng.random() < 0.45 else (least, 40.0)
    return noise | {"noise": _contrast(drawn) / log_uniform(rng, limits)}


def _artefacts(rng: np.random.Generator, drawn: Drawn, size: float) -> Drawn:
    """Streaks, arcs instead of rings, and the double image of a sample that moved."""
    contrast = _contrast(drawn)
    ghost = sometimes(rng, 0.12, 0.1, 0.4)
    furthest = max(1, round(0.12 * size))
    return {
        "streaks": min(1.0, contrast * sometimes(rng, 0.2, 0.3, 1.5)),
        "streak_sources": int(rng.integers(2, 13)),
        "rings": drawn["rings"] or contrast * sometimes(rng, 0.15, 0.05, 0.4),
        "ring_arc": rng.uniform(0.2, 0.8) if rng.random() < 0.4 else 1.0,
        "ghost": ghost,
        "ghost_shift": tuple(int(v) for v in rng.integers(-furthest, furthest + 1, 3)) if ghost > 0 else (0, 0, 0),
    }


def _contrast(drawn: Drawn) -> float:
    return float(drawn["minerals"][0].grey - drawn["background_grey"])
