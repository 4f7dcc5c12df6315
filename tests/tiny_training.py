"""A training so small that a CPU does with it what a GPU does with real ones."""

from __future__ import annotations

from pathlib import Path

from ps3d_core.params import Resources, TrainParams
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.plan import TrainJob

RESOURCES = Resources(workers=1, memory_gib=4)  # one thread: no two wait for each other on a busy machine
PARAMS = TrainParams(
    folds=(0,), epochs=3, iterations=2, patch=(24, 24, 24), batch_size=2, features=4, device="cpu", mirror=False
)
FLAGS = "--fold 0 --epochs 3 --iterations 2 --patch 24 --batch-size 2 --features 4 --device cpu --no-tta --workers 1"


def tiny_job(data: Location, bundle: Path, **changes: object) -> TrainJob:
    """A job of seconds."""
    return TrainJob(data, Location.parse(bundle), PARAMS.model_copy(update=changes), RESOURCES)
