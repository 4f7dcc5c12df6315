"""What the network finds in a few blocks of a scan at one scale: particles, and how sure it is of them.

The blocks lie one behind the other in one volume, with a layer of nothing between them, which goes the way of any
prediction: so particles are what they are in a segmentation, only that none is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import find_objects

from ps3d_core.border_core.classes import CERTAIN
from ps3d_core.border_core.labels import border_core_to_instances
from ps3d_core.border_core.plan import Certainties
from ps3d_core.contacts.pair_counts import count_pairs_of
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.inference.empty import surely_empty
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.inspection.blocks import Blocks
from ps3d_core.network.bundle import Bundle, BundleInfo
from ps3d_core.network.computation import Computation
from ps3d_core.network.ensemble import Predictor
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import knows_surroundings
from ps3d_core.params import InstancesParams
from ps3d_core.particles.surface import surface_area
from ps3d_core.quality import PLAIN
from ps3d_core.store.arrays import chunk_shape, ensure_array, open_array, read_box, write_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.scratch import temporary

THIN: Final = 0.75
"""Thickness of a scan, in particles, below which it is thin: none or hardly any is seen whole."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sighting:
    """Particles that were found in blocks; lengths are voxels of the network grid.

    zoom: network voxels per voxel of the scan, or per cube that has the volume of one.
    voxels: of each particle, (n,).
    diameter: of the sphere of the same volume, (n,); in a thin scan, which cuts all particles, what their sections say.
    certainty: mean probability of the classes of its voxels, (n,), 0 to 1.
    weight: how many like it there are for each that is seen whole, (n,); 0 for one that a face of its block cuts.
    contact: area that it shares with one neighbour at most, as a share of the disc of its diameter, (n,).
    blocks: that the network saw, normalised, (k, z, y, x) float32: what lies in the scan.
    classes: most probable class of every voxel of these, (k, z, y, x).
    labels: of the particles in them, 1..n, (k, z, y, x).
    places: first voxel of each block in the network grid, (k, 3).
    intensity: by which grey values were normalised.
    thin: whether the scan is thinner than its particles.
    """

    zoom: float
    voxels: Integers
    diameter: Floats
    certainty: Floats
    weight: Floats
    contact: Floats
    blocks: npt.NDArray[np.float32]
    classes: U8
    labels: Labels
    places: Integers
    intensity: Intensity
    thin: bool = False

    def kept(self, info: BundleInfo) -> npt.NDArray[np.bool_]:
        """Return which particles a segmentation keeps, (n,): those of which the network is sure enough."""
        return np.asarray(self.certainty >= (info.least_certainty or 0))


class Looker:
    """A model ready to look at blocks; a context manager's value, see `looking`."""

    def __init__(self, bundle: Bundle, evaluate: PatchEvaluator, workers: int) -> None:
        self.bundle = bundle
        self._evaluate = evaluate
        self._workers = workers

    @property
    def seconds_per_patch(self) -> float:
        """Mean time of one forward pass so far, all cores together."""
        return self._evaluate.forward_seconds / max(1, self._evaluate.patches)

    def sight(self, blocks: Blocks, zoom: float, *, dark: bool, count: int) -> Sighting:
        """Return what is found in the first `count` blocks that are not surely empty.

        With `dark`, particles are what is darker than its surroundings.
        """
        intensity = blocks.intensity(self.bundle)
        intensity = intensity.turned() if dark else intensity
        rows, patches = self._chosen(blocks, intensity, count)
        known = [_known(answer)[(slice(None), *blocks.inside.slices)] for answer in self._evaluate([patches])]
        shape = blocks.inside.shape
        seen = [patch.numpy()[blocks.inside.slices] for patch in patches]
        classes, certainty = np.stack(known, axis=1) if known else np.zeros((2, 0, *shape), np.uint8)
        voxels, sums, labels = self._particles(classes, certainty)
        target = self.bundle.info.target_particle_size
        thin = [axis for axis in range(3) if blocks.shape[axis] < THIN * target]
        weight, area = _weights(find_objects(labels) if labels.size else [], shape, thin), _largest_contacts(labels)
        labels = labels.reshape(len(seen), shape[0] + 1, *shape[1:])[:, : shape[0]]
        diameter = np.cbrt(6 * voxels / np.pi)
        return Sighting(
            zoom=zoom,
            voxels=voxels,
            diameter=_of_sections(labels, len(voxels), thin[0], target) if thin else diameter,
            certainty=sums / (CERTAIN * np.maximum(1, voxels)),
            weight=weight,
            contact=area / (np.pi / 4 * diameter**2),
            blocks=np.stack(seen) if seen else np.empty((0, *shape), np.float32),
            classes=classes,
            labels=labels,
            places=blocks.places[rows],
            intensity=intensity,
            thin=bool(thin),
        )

    def _chosen(self, blocks: Blocks, intensity: Intensity, count: int) -> tuple[list[int], list[torch.Tensor]]:
        may_be_empty = knows_surroundings(self.bundle.info.normalisation)

        def wanted() -> Iterator[tuple[int, torch.Tensor]]:
            for row, grey in enumerate(blocks.grey):
                patch = torch.from_numpy(np.ascontiguousarray(intensity.normalise(grey)))
                if not (may_be_empty and bool(surely_empty(patch[None])[0])):
                    yield row, patch

        chosen = list(islice(wanted(), count))
        return [row for row, _ in chosen], [patch for _, patch in chosen]

    def _particles(self, classes: U8, certainty: U8) -> tuple[Integers, Integers, Labels]:
        """Voxels and sums of certainty of the particles in blocks (n, z, y, x); their labels, (n * (z + 1), y, x)."""
        if not classes.size:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), _one_behind_the_other(classes).astype(np.uint32)
        info = self.bundle.info
        with temporary(in_memory=True) as place:
            for name, values in (("classes", classes), ("certainty", certainty)):
                _write(place / name, _one_behind_the_other(values))
            border_core_to_instances(
                place / "classes",
                place / "labels",
                place / "work",
                context=Context(Runner(workers=self._workers), 2**31),
                certainty=Certainties(place / "certainty", place / "certainties.npz"),
                params=InstancesParams(
                    min_rel_particle_size=0,
                    smallest_core=info.smallest_core,
                    greatest_neck=info.greatest_neck,
                    greatest_length=info.greatest_length,
                ),
                input_fingerprint="blocks",
            )
            known = (place / "certainties.npz").read_arrays()
            array = open_image(place / "labels")
            labels = read_box(array, Box.of(cast(Shape, array.shape)))
        return known["voxels"], known["certainty"], labels


@contextmanager
def looking(bundle: Bundle, computation: Computation, threads: int) -> Iterator[Looker]:
    """Hold a model ready to look at blocks, on a device of its own kind, `threads` patches at once on a CPU."""
    device = torch.device(computation.device)
    predictor = Predictor(bundle.networks(device), PLAIN, computation=computation, threads=threads)
    with PatchEvaluator(predictor, threads=threads) as evaluate:
        yield Looker(bundle, evaluate, threads)


def _known(probabilities: torch.Tensor) -> U8:
    """Most probable class of every voxel, and how probable it is, (2, z, y, x)."""
    highest, chosen = probabilities.max(dim=0)
    return np.stack([chosen.cpu().numpy(), (highest * CERTAIN).round().cpu().numpy()]).astype(np.uint8)


def _one_behind_the_other(blocks: U8) -> U8:
    """Blocks (n, z, y, x) along z, a layer of zeros behind each: (n * (z + 1), y, x)."""
    n, depth, height, width = blocks.shape
    apart = np.zeros((n, depth + 1, height, width), np.uint8)
    apart[:, :-1] = blocks
    return apart.reshape(-1, height, width)


def _write(place: Location, values: U8) -> None:
    shape = cast(Shape, values.shape)
    ensure_array(place, shape, np.uint8, chunks=chunk_shape(shape), sharded=False)
    write_box(open_array(place, writable=True), Box.of(shape), values)


def _weights(boxes: Sequence[tuple[slice, slice, slice]], block: Shape, thin: Sequence[int] = ()) -> Floats:
    """Miles-Lantuejoul weights: one over the share of places at which a block shows a box of this size whole.

    Boxes that touch a face of their block weigh nothing. Along `thin` axes all do, and it does not matter.
    """
    axes = [axis for axis in range(3) if axis not in thin]
    weights = np.zeros(len(boxes))
    depth = block[0] + 1
    for row, (z, y, x) in enumerate(boxes):
        start, stop = (z.start % depth, y.start, x.start), (z.stop - z.start // depth * depth, y.stop, x.stop)
        seen = [(start[axis], stop[axis], block[axis]) for axis in axes]
        if all(a > 0 and b < side for a, b, side in seen):
            weights[row] = 1 / np.prod([(side - 2 - (b - a) + 1) / side for a, b, side in seen])
    return weights


def _of_sections(labels: Labels, particles: int, axis: int, target: float) -> Floats:
    """Diameters of particles of which a thin scan shows sections, (n,).

    Circles of the area that is seen along the thin axis are smaller than the particles: for spheres and a single slice
    by a factor of pi / 4 on average, by less the more slices there are.
    """
    ordered = np.sort(np.moveaxis(labels, 1 + axis, 1), axis=1)
    first = np.ones(ordered.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    area = np.bincount(ordered[first], minlength=particles + 1)[1 : particles + 1]
    seen = min(1.0, ordered.shape[1] / target)
    return np.asarray(np.sqrt(4 * area / np.pi) * (seen + (1 - seen) * 4 / np.pi))


def _largest_contacts(labels: Labels) -> Floats:
    """Area of the largest contact of each of the labels 1..n, (n,), in faces of a voxel."""
    counts = count_pairs_of(np.pad(labels, 1))
    areas, largest = surface_area(counts.crossings) / 2, np.zeros(int(labels.max(initial=0)) + 1)
    np.maximum.at(largest, counts.lower, areas)
    np.maximum.at(largest, counts.higher, areas)
    return largest[1:]
