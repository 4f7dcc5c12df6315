"""Training data and a training so small that a CPU does with it what a GPU does with real ones."""

from __future__ import annotations

from pathlib import Path

from ps3d_core.params import PreparationParams, Resources, TrainParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.plan import TrainJob
from ps3d_core.training.preparation import prepare_training
from ps3d_core.training.preparation_plan import PreparationJob

RESOURCES = Resources(workers=1, memory_gib=4)  # one thread: no two wait for each other on a busy machine
PARAMS = TrainParams(
    folds=(0,), epochs=3, iterations=2, patch=(16, 16, 16), batch_size=2, features=4, device="cpu", mirror=False
)
FLAGS = "--fold 0 --epochs 3 --iterations 2 --patch 16 --batch-size 2 --features 4 --device cpu --no-tta --workers 1"


def prepared_data(place: Path, cases: int = 2, *, instances: bool = False) -> Location:
    """Annotated phantoms, prepared; returns DatasetNNN_NAME."""
    dataset = Dataset(Location.parse(place / "data"))
    for seed in range(cases):
        params = PhantomParams(shape=(32, 32, 32), particle_size_voxels=12, seed=seed, dtype="uint16")
        write_phantom(params, dataset.root, f"Ore {seed}.5um", spacing=0.01)
    params = PreparationParams(target_particle_size=12, border_thickness=2, zscore=(12_000, 5_000), instances=instances)
    output = Location.parse(place / "training")
    prepare_training(PreparationJob(dataset, output, params=params, resources=RESOURCES))
    return output / "Dataset500_ParticleSeg3D"


def tiny_job(data: Location, bundle: Path, **changes: object) -> TrainJob:
    """A job of seconds."""
    return TrainJob(data, Location.parse(bundle), PARAMS.model_copy(update=changes), RESOURCES)
