"""Bodies whose every measure is known: in closed form, or from the support function, which is.

A body is a convex hull (an ellipsoid, a box, a cylinder or an octahedron) less what is cut out of it. All have the
volume of a ball of diameter 1, so that a size in voxels means the same for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Sides = tuple[float, float, float]


def in_ellipsoid(at: Floats, sides: Sides) -> npt.NDArray[np.bool_]:
    return (4 * at**2 / np.square(sides)).sum(-1) <= 1


def in_box(at: Floats, sides: Sides) -> npt.NDArray[np.bool_]:
    return (2 * np.abs(at) <= sides).all(-1)


def in_cylinder(at: Floats, sides: Sides) -> npt.NDArray[np.bool_]:
    """Its axis is the first."""
    return (2 * np.abs(at[..., 0]) <= sides[0]) & (4 * (at[..., 1] ** 2 + at[..., 2] ** 2) <= sides[1] ** 2)


def in_octahedron(at: Floats, sides: Sides) -> npt.NDArray[np.bool_]:
    """Its corners are on the axes."""
    return (2 * np.abs(at) / sides).sum(-1) <= 1


def width_of_ellipsoid(along: Floats, sides: Sides) -> Floats:
    return np.sqrt((along**2 * np.square(sides)).sum(-1))


def width_of_box(along: Floats, sides: Sides) -> Floats:
    return np.abs(along) @ np.array(sides)


def width_of_cylinder(along: Floats, sides: Sides) -> Floats:
    return np.abs(along[..., 0]) * sides[0] + np.hypot(along[..., 1], along[..., 2]) * sides[1]


def width_of_octahedron(along: Floats, sides: Sides) -> Floats:
    return np.asarray((np.abs(along) * sides).max(-1))


INSIDE = {"ellipsoid": in_ellipsoid, "box": in_box, "cylinder": in_cylinder, "octahedron": in_octahedron}
WIDTH = {
    "ellipsoid": width_of_ellipsoid,
    "box": width_of_box,
    "cylinder": width_of_cylinder,
    "octahedron": width_of_octahedron,
}
VOLUME = {"ellipsoid": np.pi / 6, "box": 1.0, "cylinder": np.pi / 4, "octahedron": 1 / 6}
# Variance along the axes as a share of the square of the sides.
VARIANCE = {
    "ellipsoid": (1 / 20,) * 3,
    "box": (1 / 12,) * 3,
    "cylinder": (1 / 12, 1 / 16, 1 / 16),
    "octahedron": (1 / 40,) * 3,
}


@dataclass(frozen=True)
class Part:
    """An ellipsoid, a box, a cylinder or an octahedron with axes along those of the body."""

    kind: str
    sides: Sides
    centre: Sides = (0.0, 0.0, 0.0)

    def holds(self, at: Floats, scale: float) -> npt.NDArray[np.bool_]:
        sides = tuple(scale * side for side in self.sides)
        return INSIDE[self.kind](at - scale * np.array(self.centre), sides)

    @property
    def volume(self) -> float:
        return float(VOLUME[self.kind] * np.prod(self.sides))

    @property
    def second_moments(self) -> Floats:
        """About the centre of the body, along the axes."""
        own = np.array(VARIANCE[self.kind]) * np.square(self.sides)
        return self.volume * (own + np.square(self.centre))


@dataclass(frozen=True)
class Body:
    """A hull less its holes; `surface` and `inscribed` are those of the whole, in the unit of the sides."""

    name: str
    hull: Part
    surface: float
    inscribed: float
    holes: tuple[Part, ...] = ()
    pores: int = 0

    @cached_property
    def volume(self) -> float:
        return self.hull.volume - sum(hole.volume for hole in self.holes)

    @cached_property
    def unit(self) -> float:
        """What a side of 1 is for a body of equivalent diameter 1."""
        return float(np.cbrt(np.pi / 6 / self.volume))

    def voxels(self, size: float, turn: Floats, shift: Floats) -> npt.NDArray[np.bool_]:
        """Voxels (z, y, x) whose centre is in the body of this equivalent diameter; the mask has a margin."""
        scale = size * self.unit
        reach = [int(np.ceil(scale * self.width(turn[axis]) / 2)) + 3 for axis in range(3)]
        grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1)
        at = (grid - shift) @ turn
        inside = self.hull.holds(at, scale)
        for hole in self.holes:
            inside &= ~hole.holds(at, scale)
        return inside

    def width(self, along: Floats) -> Floats:
        """Feret diameters along unit vectors (..., 3)."""
        return WIDTH[self.hull.kind](along, self.hull.sides)

    @cached_property
    def truth(self) -> dict[str, float]:
        """Every measure of the table at equivalent diameter 1, by the name of its column."""
        unit, volume = self.unit, np.pi / 6
        ferets = [unit * each for each in self._ferets()]
        longest, second, third, least = ferets
        # The second moments of all bodies here are along their own axes.
        moments = self.hull.second_moments - sum((hole.second_moments for hole in self.holes), np.zeros(3))
        off = sum((hole.volume * np.array(hole.centre) for hole in self.holes), np.zeros(3)) / self.volume
        axes = np.sort(2 * np.sqrt(5 * (moments / self.volume - off**2)))[::-1] * unit
        surface, hull = self.surface * unit**2, self.hull.volume * unit**3
        return {
            "volume_mm3": volume,
            "diameter_mm": 1.0,
            **dict(zip(("axis_long_mm", "axis_intermediate_mm", "axis_short_mm"), axes.tolist(), strict=True)),
            "elongation": axes[1] / axes[0],
            "flatness": axes[2] / axes[1],
            "surface_area_mm2": surface,
            "sphericity": np.pi / surface,
            "feret_max_mm": longest,
            "feret_max90_mm": second,
            "feret_third_mm": third,
            "feret_min_mm": least,
            "sieve_mm": unit * self._sieve(),
            "hull_volume_mm3": hull,
            "solidity": volume / hull,
            "corey": third / np.sqrt(longest * second),
            "roundness": longest**-3,
            "inscribed_diameter_mm": unit * self.inscribed,
            "pores": float(self.pores),
            "pore_volume_mm3": unit**3 * sum(hole.volume for hole in self.holes) if self.pores else 0.0,
        }

    def _ferets(self) -> tuple[float, float, float, float]:
        along = self.longest
        across = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
        across /= np.linalg.norm(across)
        angles = np.linspace(0, np.pi, 3601)[:, None]
        turned = np.cos(angles) * across + np.sin(angles) * np.cross(along, across)
        widths = self.width(turned)
        second = turned[np.argmax(widths)]
        third = float(self.width(np.cross(along, second)))
        least = min(self.hull.sides) / (3**0.5 if self.hull.kind == "octahedron" else 1)
        return float(self.width(along)), float(widths.max()), third, least

    @cached_property
    def longest(self) -> Floats:
        """Direction of the largest Feret diameter in the axes of the body, one of them where there are several."""
        a, b, c = self.hull.sides
        along = {
            "ellipsoid": np.eye(3)[np.argmax(self.hull.sides)],
            "box": np.array([a, b, c]),
            "cylinder": np.array([a, b, 0.0]),
            "octahedron": np.array([1.0, 0.0, 0.0]),
        }[self.hull.kind]
        return along / np.linalg.norm(along)

    def _sieve(self) -> float:
        """Side of the smallest square hole, through which it goes along its longest side."""
        if self.hull.kind == "cylinder" and self.hull.sides[0] >= self.hull.sides[1]:
            return self.hull.sides[1]
        short, middle, _ = sorted(self.hull.sides)
        if self.hull.kind == "octahedron":
            # Along (2, 2, 1) / 3 and (2, -1, -2) / 3.
            return 2 / 3 * short
        if self.hull.kind == "ellipsoid":
            return float(np.sqrt((short**2 + middle**2) / 2))
        return min(middle, (short + middle) / 2**0.5)


def surface_of_ellipsoid(sides: Sides) -> float:
    """By the integral over directions of the area that faces them (trapezoids over angles, which converge fast)."""
    u = (np.arange(2000) + 0.5) / 1000 - 1
    angle = (np.arange(400) + 0.5) * np.pi / 200
    z, r = u[:, None], np.sqrt(1 - u**2)[:, None]
    a, b, c = (side / 2 for side in sides)
    stretched = np.sqrt((b * c * z) ** 2 + (a * c * r * np.cos(angle)) ** 2 + (a * b * r * np.sin(angle)) ** 2)
    return float(4 * np.pi * stretched.mean())


def ellipsoid(name: str, *sides: float) -> Body:
    a, b, c = sides
    return Body(name, Part("ellipsoid", (a, b, c)), surface_of_ellipsoid((a, b, c)), min(sides))


def box(name: str, *sides: float) -> Body:
    a, b, c = sides
    return Body(name, Part("box", (a, b, c)), 2 * (a * b + b * c + c * a), min(sides))


def cylinder(name: str, height: float, across: float) -> Body:
    surface = np.pi * across * height + np.pi / 2 * across**2
    return Body(name, Part("cylinder", (height, across, across)), float(surface), min(height, across))


def octahedron() -> Body:
    """A regular one: its faces are apart by 1 / sqrt(3) of what its corners are."""
    return Body("octahedron", Part("octahedron", (1, 1, 1)), 3**0.5, 3**-0.5)


def hollow_ball() -> Body:
    return Body(
        "hollow ball", Part("ellipsoid", (1, 1, 1)), 1.25 * np.pi, 0.25, (Part("ellipsoid", (0.5, 0.5, 0.5)),), pores=1
    )


def hollow_cube() -> Body:
    """The largest ball lies in a corner: it touches three faces and the corner of the hole."""
    # (0.25 - r) sqrt(3) = r
    inscribed = 2 * 0.25 * 3**0.5 / (1 + 3**0.5)
    return Body("hollow cube", Part("box", (1, 1, 1)), 7.5, inscribed, (Part("box", (0.5, 0.5, 0.5)),), pores=1)


def notched_cube() -> Body:
    """A slot along the last axis, half as deep and a third as wide as the cube; its hull is the cube."""
    slot = Part("box", (0.5, 1 / 3, 1), (0.25, 0, 0))
    # The largest ball touches the bottom, a side and the edge of the slot: (1/3 - r)^2 + (1/2 - r)^2 = r^2.
    radius = (5 / 3 - np.sqrt(25 / 9 - 13 / 9)) / 2
    return Body("notched cube", Part("box", (1, 1, 1)), 7 - 1 / 3, float(2 * radius), (slot,))


BODIES: tuple[Body, ...] = (
    ellipsoid("ball", 1, 1, 1),
    ellipsoid("long ellipsoid", 2, 1, 1),
    ellipsoid("flat ellipsoid", 2, 2, 1),
    ellipsoid("ellipsoid", 3, 2, 1.5),
    box("cube", 1, 1, 1),
    box("box", 3, 2, 1.5),
    box("plate", 3, 2.5, 0.8),
    cylinder("cylinder", 1, 1),
    cylinder("rod", 4, 1),
    cylinder("disc", 0.3, 1),
    octahedron(),
    hollow_ball(),
    hollow_cube(),
    notched_cube(),
)


def random_turn(rng: np.random.Generator) -> Floats:
    """A rotation (3, 3), even over all."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def along_the_grid() -> list[Floats]:
    """The rotations that leave axes along the grid, one of each order of axes."""
    orders = [order for order in product(range(3), repeat=3) if len(set(order)) == 3]
    return [np.eye(3)[list(order)] for order in orders]
