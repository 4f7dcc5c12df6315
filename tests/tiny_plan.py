"""A small phantom and a network of a few voxels, planned: what a test of prediction needs in no time."""

from __future__ import annotations

from pathlib import Path

import torch

from ps3d_core.geometry.boxes import Shape
from ps3d_core.network.bundle import ModelFacts, save_bundle
from ps3d_core.network.normalisation import PerScan
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.plan import SegmentJob, SegmentPlan, plan_segmentation
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tests.tiny_network import TINY


def planned(folder: Path, shape: Shape, params: PredictParams | None = None) -> SegmentPlan:
    """Return the plan of a phantom of `shape`, particles of 10 voxels, and a random network with patches of 16."""
    torch.manual_seed(0)
    facts = ModelFacts(
        name="tiny",
        architecture=TINY,
        patch_size=(16, 16, 16),
        target_particle_size=10,
        normalisation=PerScan(),
        border_thickness=1,
    )
    save_bundle(str(folder / "model"), {0: TINY.build()}, facts)
    dataset = Dataset(Location.parse(folder / "data"))
    write_phantom(PhantomParams(shape=shape, particle_size_voxels=10, seed=3), dataset.root, "ore")
    return plan_segmentation(
        SegmentJob(
            dataset,
            "ore",
            Location.parse(folder / "out"),
            str(folder / "model"),
            SegmentParams(predict=params or PredictParams(device="cpu")),
            Resources(workers=1),
        )
    )
