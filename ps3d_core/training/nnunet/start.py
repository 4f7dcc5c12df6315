"""A training that goes on from a model: with its network and weights, on data that was prepared as its own was."""

from __future__ import annotations

from typing import Any

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.network.bundle import Bundle, BundleInfo, load_bundle
from ps3d_core.network.normalisation import knows_surroundings
from ps3d_core.params import TrainParams
from ps3d_core.training.preparation_record import PreparationRecord


def model_to_start_from(params: TrainParams, record: PreparationRecord) -> Bundle | None:
    """Return the model that the training shall start from, None when none was asked for.

    Raises:
        InputError: when the data was prepared otherwise, or options ask for another network.

    """
    if params.start_from is None:
        return None
    model = load_bundle(params.start_from)
    _check_network(params, model.info)
    if differences := list(_differences(model.info, record)):
        raise InputError(
            f"model {params.start_from} to start from: {', '.join(differences)}; prepare the training data with "
            f"{_in_words(model.info)}"
        )
    return model


def choices(params: TrainParams, start: Bundle | None) -> dict[str, Any]:
    """Return what is decided here instead of by nnU-Net's planner; see `planner.tailored`."""
    asked = params.model_dump(include={"patch", "batch_size", "features"}, exclude_none=True)
    if start is None:
        return asked
    return {"patch": start.info.patch_size} | asked | {"architecture": start.info.architecture.model_dump(mode="json")}


def _check_network(params: TrainParams, info: BundleInfo) -> None:
    own, step = f"the model to start from ({params.start_from})", info.architecture.downsampling
    if params.features is not None:
        raise InputError(f"features {params.features}: the network is that of {own}; leave one of them out")
    if params.patch and any(side % factor for side, factor in zip(params.patch, step, strict=True)):
        raise InputError(
            f"patch {shape_text(params.patch)}: the network of {own} takes multiples of {shape_text(step)}; leave it "
            f"out for the model's own {shape_text(info.patch_size)}"
        )


def _differences(info: BundleInfo, record: PreparationRecord) -> list[str]:
    lengths = (
        ("particles", info.target_particle_size, record.target_particle_size),
        ("borders", info.border_thickness, record.border_thickness),
    )
    differing = [f"its {what} have {its:g} voxels, the data's {the:g}" for what, its, the in lengths if its != the]
    if knows_surroundings(info.normalisation) != knows_surroundings(record.normalisation):
        differing.append("its grey values are normalised in another way")
    return differing


def _in_words(info: BundleInfo) -> str:
    grey = "measured on each scan" if knows_surroundings(info.normalisation) else "normalised by a z-score"
    sizes = f"a target particle size of {info.target_particle_size:g}, a border thickness of {info.border_thickness:g}"
    return f"{sizes} and grey values {grey}"
