"""What the particles of a phantom are made of: the truth for a measured composition.

The scene is painted once for each material with grey 1 where that is and 0 elsewhere, without texture: what comes out
is how much of each voxel the material fills, as finely as the image itself is drawn. A second mineral that is the same
as the first differs in grey value only, and is the same mineral here.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.minerals import Makeup, minerals_of
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import Phantom, tiles
from ps3d_core.phantom.scene import Scene
from ps3d_core.store.arrays import read_box, shard_shape
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.publishing import publish_text

Floats = npt.NDArray[np.float32]
_PARTS = 2**16  # of a voxel: whole numbers add up to the same sum in any order


def material_names(params: PhantomParams) -> list[str]:
    """Return what particles of a phantom are made of: its minerals in their order, and inclusions."""
    return [*(f"mineral_{k + 1}" for k in range(len(params.minerals))), "inclusion"]


def material_shares(phantom: Phantom, box: Box) -> Floats:
    """Return how much of each voxel of `box` each material of particles fills, float32 (materials, z, y, x)."""
    out = np.empty((len(material_names(phantom.params)), *box.shape), np.float32)
    for tile in tiles(box):
        out[(slice(None), *tile.relative_to(box).slices)] = _shares(phantom.scene, tile)
    return out


def write_composition(phantom: Phantom, labels: Location, file: Location) -> None:
    """Write the composition of every particle as CSV, one row for each label of the phantom's label image.

    Columns are the label, its voxels, the share of each material in its volume without voids, and the share of voids
    (pores, cracks, and what background its outer voxels hold) in its voxels.
    """
    names = material_names(phantom.params)
    filled, voxels = _sums(phantom, labels, len(names))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "voxels", *(f"{name}_share" for name in names), "void_share"])
    for label in np.flatnonzero(voxels).tolist():
        solid = max(int(filled[label].sum()), 1)
        void = max(0.0, 1 - solid / _PARTS / int(voxels[label]))
        shares = [f"{int(part) / solid:.6f}" for part in filled[label]]
        writer.writerow([label, int(voxels[label]), *shares, f"{void:.6f}"])
    publish_text(file, text.getvalue())


def _sums(phantom: Phantom, labels: Location, kinds: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Parts of voxels (n, kinds) that materials fill in each label, and voxels (n,) of it."""
    filled, voxels = np.zeros((1, kinds), np.int64), np.zeros(1, np.int64)
    image, shape = open_image(labels), phantom.params.shape
    for block in BlockGrid(shape, shard_shape(shape)):
        ids = read_box(image, block.core)
        inside = ids > 0
        if not inside.any():
            continue
        own = ids[inside].astype(np.int64)
        grown = max(0, int(own.max()) + 1 - len(voxels))
        filled, voxels = np.pad(filled, ((0, grown), (0, 0))), np.pad(voxels, (0, grown))
        voxels += np.bincount(own, minlength=len(voxels))
        for kind, shares in enumerate(material_shares(phantom, block.core)):
            parts = np.rint(shares[inside].astype(np.float64) * _PARTS)
            filled[:, kind] += np.bincount(own, parts, len(voxels)).astype(np.int64)  # exact: below 2^53
    return filled, voxels


def _shares(scene: Scene, box: Box) -> Floats:
    host, guest = minerals_of(scene.params, len(scene.packing.radius))
    kinds = len(scene.params.minerals)
    solid = _painted(scene, box, np.ones(len(host)), np.ones(len(host)), 0.0)
    inclusion = np.minimum(_painted(scene, box, np.zeros(len(host)), np.zeros(len(host)), 1.0), solid)
    left = np.divide(solid - inclusion, solid, out=np.zeros_like(solid), where=solid > 0)
    minerals = [_painted(scene, box, host == k, guest == k, 0.0) * left for k in range(kinds)]
    return np.stack([*minerals, inclusion]).astype(np.float32)


def _painted(
    scene: Scene, box: Box, host: npt.NDArray[Any], guest: npt.NDArray[Any], inclusion: float
) -> npt.NDArray[np.float32]:
    """The scene where particles have these greys and all else is 0."""
    nothing = np.zeros(len(host), np.float32)
    makeup: Makeup = scene.makeup._replace(
        grey=host.astype(np.float32), other_grey=guest.astype(np.float32), fine=nothing, coarse=nothing
    )
    params = scene.params
    black = {"grey": 0.0, "rim": 0.0}
    dark = params.model_copy(
        update={
            "background_grey": 0.0,
            "background_texture": 0.0,
            "air_grey": 0.0,
            "rim": 0.0,
            "inclusion_grey": inclusion,
            "tube": params.tube and params.tube.model_copy(update=black),
            "walls": tuple(wall.model_copy(update=black) for wall in params.walls),
        }
    )
    image, _ = Scene(dark, scene.bank, scene.packing, makeup).paint(box)
    return image
