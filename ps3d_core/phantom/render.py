"""Render any box of a phantom; the bytes do not depend on how the volume is cut.

That holds because nothing random is drawn while rendering: the particle list is made up front, and everything per
voxel is a function of absolute coordinates. The scene is painted on the box grown by the scanner's reach, also beyond
the volume's faces, which are thus as arbitrary as those of a real scan.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.minerals import make_up
from ps3d_core.phantom.packing import pack
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.scanner import black_out, reach, scan
from ps3d_core.phantom.scene import Scene
from ps3d_core.phantom.shapes import make_bank

_TILE = 128  # largest edge painted at once: bounds the working memory at about 60 bytes * TILE^3


class Phantom:
    """A phantom whose particles are arranged once, on first use, and whose boxes are rendered one by one."""

    def __init__(self, params: PhantomParams) -> None:
        self.params = params

    @cached_property
    def scene(self) -> Scene:
        """Particles and what they are made of; about 200 bytes per particle."""
        bank = make_bank(self.params)
        packing = pack(self.params, bank)
        return Scene(self.params, bank, packing, make_up(self.params, packing.radius))

    def render(self, box: Box | None = None) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint32]]:
        """Return the image (dtype of the phantom) and labels (uint32) of one box, by default the whole volume.

        Labels are 0 in the background, else the number of the particle. Raise InputError when the box reaches outside
        the volume.
        """
        box = Box.of(self.params.shape) if box is None else box
        whole = Box.of(self.params.shape)
        if any(a < 0 or b > n for a, b, n in zip(box.start, box.stop, whole.stop, strict=True)):
            raise InputError(f"box {box.start} to {box.stop}: must lie within the shape {self.params.shape}; move it")
        image = np.empty(box.shape, self.params.dtype)
        labels = np.empty(box.shape, np.uint32)
        for tile in tiles(box):
            at = tile.relative_to(box).slices
            image[at], labels[at] = self._render_tile(tile)
        return image, labels

    def _render_tile(self, tile: Box) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint32]]:
        halo = reach(self.params)
        z, y, x = tile.start
        outer = Box((z - halo, y - halo, x - halo), tuple(s + halo for s in tile.stop))  # type: ignore[arg-type]
        grey, labels = self.scene.paint(outer)
        labels = labels[tile.relative_to(outer).slices].copy()
        black_out(self.params, labels, tile)
        return scan(self.params, grey, tile), labels


def render(params: PhantomParams, box: Box | None = None) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint32]]:
    """Return image and labels of one box of a phantom; to render many boxes of it keep a `Phantom`."""
    return Phantom(params).render(box)


def tiles(box: Box) -> list[Box]:
    """Return a box cut into tiles of at most _TILE voxels along each axis, of nearly equal size."""
    edges = [
        np.linspace(a, b, -(-(b - a) // _TILE) + 1).astype(int).tolist() if b > a else []
        for a, b in zip(box.start, box.stop, strict=True)
    ]
    return [
        Box((z0, y0, x0), (z1, y1, x1))
        for z0, z1 in zip(edges[0][:-1], edges[0][1:], strict=True)
        for y0, y1 in zip(edges[1][:-1], edges[1][1:], strict=True)
        for x0, x1 in zip(edges[2][:-1], edges[2][1:], strict=True)
    ]
