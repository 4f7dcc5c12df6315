"""Which part of a scan is worked on: what lies within cylinders, on the inner side of planes, and in a mask.

All is in voxels of the scan (z, y, x), the centre of its first voxel at 0. A voxel is inside where its centre is. Where
voxels are no cubes, lengths along all axes are in edges of a voxel along x, so that what is round is round.
"""

from __future__ import annotations

from math import hypot
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import Spacing

Kind = Literal["wall", "field of view", "given"]
"""Where a bound comes from. Particles end at a wall of the container; any other bound cuts them."""
Floats = npt.NDArray[np.float64]
Coordinates = tuple[Floats, Floats, Floats]
CUBES: Spacing = (1.0, 1.0, 1.0)


class _Bound(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind

    @property
    def cuts(self) -> bool:
        """Whether particles go on beyond it."""
        return self.kind != "wall"


class Cylinder(_Bound):
    """Inside of a cylinder along z, or tilted."""

    shape: Literal["cylinder"] = "cylinder"
    centre: tuple[float, float] = Field(description="of its axis at z = 0, (y, x)")
    tilt: tuple[float, float] = Field(default=(0.0, 0.0), description="shift of the axis per slice, (y, x)")
    radius: float = Field(gt=0)

    def beyond(self, at: Coordinates) -> Floats:
        """Return how far points lie beyond the face of the cylinder, negative inside, voxels."""
        z, y, x = at
        (ty, tx), (cy, cx) = self.tilt, self.centre
        dy, dx = y - cy - ty * z, x - cx - tx * z
        along = dy * ty + dx * tx
        square = dy * dy + dx * dx - along * along / (1 + ty * ty + tx * tx)
        return np.asarray(np.sqrt(np.maximum(square, 0)) - self.radius)

    def grown(self, by: float) -> Cylinder:
        """Return it with its face moved out, voxels."""
        return self.model_copy(update={"radius": self.radius + by})

    def least_beyond(self, low: Floats, high: Floats) -> float:
        """Return a lower bound of `beyond` over a box from `low` to `high`, both (3,)."""
        z = np.linspace(low[0], high[0], max(2, int(high[0] - low[0]) + 1))
        nearest = [
            np.maximum(np.maximum(low[k] - (c + t * z), (c + t * z) - high[k]), 0)
            for k, c, t in zip((1, 2), self.centre, self.tilt, strict=True)
        ]
        # Between two of these slices the axis moves by half a slice's tilt at most.
        across = float(np.hypot(*nearest).min()) - hypot(*self.tilt) / 2
        return across / hypot(1, *self.tilt) - self.radius

    def text(self, edges: Spacing = CUBES) -> str:
        """Return what it is, in words; `edges` are those of a voxel in units of that along x."""
        tilted = f", tilted by {np.degrees(np.arctan(hypot(*self.tilt))):.2g} degrees" if any(self.tilt) else ""
        y, x = self.centre[0] / edges[1], self.centre[1]
        name = {"wall": "tube", "field of view": "field of view", "given": "given cylinder"}[self.kind]
        return f"a {name} of radius {self.radius:.4g} voxels around y {y:.4g}, x {x:.4g}{tilted}"


class HalfSpace(_Bound):
    """Inner side of a plane: the points p with normal . p <= offset."""

    shape: Literal["half-space"] = "half-space"
    normal: tuple[float, float, float] = Field(description="of length 1, points out, (z, y, x)")
    offset: float

    def beyond(self, at: Coordinates) -> Floats:
        """Return how far points lie beyond the plane, negative inside, voxels."""
        z, y, x = at
        return np.asarray(self.normal[0] * z + self.normal[1] * y + self.normal[2] * x - self.offset)

    def grown(self, by: float) -> HalfSpace:
        """Return it with its face moved out, voxels."""
        return self.model_copy(update={"offset": self.offset + by})

    def least_beyond(self, low: Floats, high: Floats) -> float:
        """Return the least of `beyond` over a box from `low` to `high`, both (3,)."""
        normal = np.array(self.normal)
        return float(np.where(normal > 0, low, high) @ normal) - self.offset

    def text(self, edges: Spacing = CUBES) -> str:
        """Return what it is, in words; its direction is the same whatever the `edges` of a voxel."""
        z, y, x = self.normal
        return f"a flat wall towards ({z:.2f}, {y:.2f}, {x:.2f})"


class Mask(_Bound):
    """Voxels of an image that are not 0; its shape is the scan's, or a whole fraction of it."""

    kind: Kind = "given"
    place: str = Field(description="of the array, Zarr")
    identity: str = Field(description="what tells its content from others")
    sides: Shape
    name: str = Field(description="what the user called it")

    def text(self, edges: Spacing = CUBES) -> str:
        """Return what it is, in words, whatever the `edges` of a voxel."""
        return f"the mask {self.name}"


class Region(BaseModel):
    """What lies inside of all its bounds; everything when there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cylinders: tuple[Cylinder, ...] = ()
    planes: tuple[HalfSpace, ...] = ()
    mask: Mask | None = None
    edges: Spacing = Field(default=CUBES, description="of a voxel (z, y, x) in units of that along x")

    @property
    def bounds(self) -> tuple[Cylinder | HalfSpace, ...]:
        """Bounds that are known by numbers."""
        return (*self.cylinders, *self.planes)

    @property
    def cutting(self) -> Region:
        """The region with those bounds alone that cut particles: they end at a wall of the container."""
        return Region(
            cylinders=tuple(each for each in self.cylinders if each.cuts),
            planes=tuple(each for each in self.planes if each.cuts),
            mask=self.mask,
            edges=self.edges,
        )

    @property
    def facts(self) -> dict[str, object]:
        """What decides which voxels are inside, JSON-able: of a mask its content, wherever it lies."""
        mask = None if self.mask is None else self.mask.identity
        edges = {} if self.edges == CUBES else {"edges": list(self.edges)}
        return self.model_dump(mode="json", include={"cylinders", "planes"}) | {"mask": mask} | edges

    @property
    def text(self) -> str:
        """What lies inside, in words."""
        mask = () if self.mask is None else (self.mask,)
        inside = " and ".join(each.text(self.edges) for each in (*self.bounds, *mask))
        return f"inside {inside}" if self else "the whole scan"

    def __bool__(self) -> bool:
        """Return whether it is less than everything."""
        return bool(self.bounds) or self.mask is not None
