"""From nnU-Net's results folder to a bundle that says where it comes from and how good it is.

The bundle is made in the work folder first, validated there, and published whole.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from ps3d_core.network.bundle import (
    BUNDLE_FILES,
    INFO_NAME,
    Bundle,
    bundle_is_own,
    load_bundle,
    record_accuracy,
    record_calibration,
    record_training,
)
from ps3d_core.network.nnunet.importing import import_model
from ps3d_core.params import ImportParams
from ps3d_core.store.claim import Output
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import remove_own
from ps3d_core.store.staging import all_or_nothing
from ps3d_core.training.calibrate import ANY
from ps3d_core.training.nnunet.crossvalidation import Row, calibration_of, mean_row
from ps3d_core.training.nnunet.plan import FINGERPRINT, SERIES, Planned, TrainPlan, check_place
from ps3d_core.training.nnunet.run import Curve, fold_folder
from ps3d_core.version import __version__

_POINTS: Final = 100  # of a curve that are kept; a bundle's description is small
_LIBRARIES: Final = ("nnunetv2", "torch", "numpy")


class Trained(BaseModel):
    """Summary of a finished training."""

    model_config = ConfigDict(frozen=True)

    bundle: str
    name: str
    digest: str
    folds: tuple[int, ...]
    accuracy: tuple[Row, ...]
    """One row per validation case, then their mean; empty when nothing was left to validate on."""


def pack(plan: TrainPlan, planned: Planned) -> Bundle:
    """Return a bundle of all trained folds, made in the work folder.

    It has what inference has to agree on with training. It is made anew in every call, of the checkpoints as they are.
    Its calibration says nothing yet: with any, certainties are kept, of which `publish` finds the right one.
    """
    remove_own(plan.workplace.packed, BUNDLE_FILES)
    params, record = plan.job.params, plan.record
    folds = None if plan.folds == ("all",) else tuple(int(fold) for fold in plan.folds)
    packed = import_model(
        str(fold_folder(plan, planned, plan.folds[0]).parent),
        plan.workplace.packed,
        ImportParams(
            name=plan.name,
            target_particle_size=record.target_particle_size,
            border_thickness=record.border_thickness,
            normalisation=record.normalisation,
            folds=folds,
            checkpoint="final",
            configuration=params.configuration,
            half_precision=params.half_precision,
        ),
    ).bundle
    return record_calibration(packed, ANY)


def publish(plan: TrainPlan, planned: Planned, packed: Bundle, curves: Sequence[Curve], rows: Sequence[Row]) -> Trained:
    """Write record, accuracy and calibration into the packed bundle, and copy it to where it was asked for.

    Return the summary of the training.
    """
    packed = record_calibration(packed, calibration_of(plan) if rows else None)
    packed = record_training(packed, _record(plan, planned, packed, curves))
    packed = record_accuracy(packed, [*rows, mean_row(rows)] if rows else [])
    target = plan.job.bundle
    check_place(plan)
    with all_or_nothing(Output(target, bundle_is_own), known=BUNDLE_FILES) as place:
        for name in (*_weights(packed.location), INFO_NAME):  # the description last: it makes a bundle of the files
            (place / name).write_bytes((packed.location / name).read_bytes())
    return trained(load_bundle(target))


def trained(bundle: Bundle) -> Trained:
    """Return the summary of a bundle: place, name, digest, folds and accuracy."""
    info = bundle.info
    return Trained(
        bundle=str(bundle.location), name=info.name, digest=info.digest, folds=bundle.folds, accuracy=info.accuracy
    )


def _record(plan: TrainPlan, planned: Planned, packed: Bundle, curves: Sequence[Curve]) -> dict[str, Any]:
    """For people, but for the fingerprint: how to make this model again."""
    params = plan.job.params
    return {
        **{key: value for key, value in packed.info.training.items() if key not in ("assumed", "imported from")},
        FINGERPRINT: plan.fingerprint,
        SERIES: plan.workplace.training,
        "data": plan.folder.full_name,
        "data fingerprint": plan.record.fingerprint,
        "cases": sorted(plan.record.cases),
        "particles": sum(case.particles for case in plan.record.cases.values()),
        "parameters": params.model_dump(mode="json", exclude_none=True, exclude={"start_from"}),
        **({"started from": {"name": plan.start.info.name, "digest": plan.start.info.digest}} if plan.start else {}),
        "plan": planned.model_dump(mode="json"),
        "device": plan.device,
        "software": {
            "ps3d": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "curves": [_thinned(curve) for curve in curves],
    }


def _thinned(curve: Curve) -> dict[str, Any]:
    epochs = curve.shown(_POINTS)
    return {
        "fold": curve.fold,
        "epochs": curve.epochs,
        "hours": round(curve.training_seconds / 3600, 3),
        "epoch": [epoch + 1 for epoch in epochs],
        "train_loss": [round(curve.train_loss[epoch], 4) for epoch in epochs],
        "validation_loss": [round(curve.validation_loss[epoch], 4) for epoch in epochs],
        "dice": [round(curve.dice[epoch], 4) for epoch in epochs],
    }


def _weights(place: Location) -> list[str]:
    return [name for name in place.children() if name.endswith(".safetensors")]
