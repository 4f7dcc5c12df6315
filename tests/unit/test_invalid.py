"""What pydantic finds is told with the value, the limit and a remedy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from ps3d_core.invalid import first_problem
from ps3d_core.params import PredictParams, PreparationParams, Resources, TrainParams
from ps3d_core.store.layout import ScanInfo


@pytest.mark.parametrize(
    ("model", "values", "says"),
    [
        (PredictParams, {"batch_size": 9999}, "batch_size 9999: must be at most 256; give less"),
        (PredictParams, {"batch_size": 0}, "batch_size 0: must be at least 1; give more"),
        (PredictParams, {"batch_size": 1.5}, "batch_size 1.5: must be a whole number; give one"),
        (PredictParams, {"target_particle_size": 1}, "target_particle_size 1: must be above 1; give more"),
        (PredictParams, {"zscore": (1, 0)}, "zscore.1 0: must be above 0; give more"),
        (PredictParams, {"zscore": (float("nan"), 1)}, "zscore.0 nan: must be a finite number; give one"),
        (PredictParams, {"device": "gpu"}, "device 'gpu': must be 'auto', 'cuda', 'mps' or 'cpu'; choose one of them"),
        (PredictParams, {"mirrored": True}, "mirrored is not known here; remove it, or correct its spelling"),
        (Resources, {"memory_gib": float("nan")}, "memory_gib nan: must be a finite number; give one"),
        (
            PredictParams,
            {"target_particle_size": float("nan")},
            "target_particle_size nan: must be a finite number; give one",
        ),
        (Resources, {"memory_gib": 0.05}, "memory_gib 0.05: must be above 0.1; give more"),
        (TrainParams, {"patch": (1, 64, 64)}, "patch.0 1: must be at least 8; give more"),
        (TrainParams, {"name": ""}, "name '': must be at least 1 character(s) long; give a longer one"),
        (ScanInfo, {"spacing": 0.1}, "particle_size is missing; add it"),
        (ScanInfo, {"spacing": "wide", "particle_size": 1}, "spacing 'wide': must be a number; give one"),
    ],
)
def test_a_problem_is_told(model: type[BaseModel], values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        model(**values)
    assert str(first_problem(error.value)) == says


def test_fields_are_called_what_the_reader_knows_them_as() -> None:
    with pytest.raises(ValidationError) as error:
        PreparationParams(dataset_id=0)
    assert first_problem(error.value, {"dataset_id": "--id"}.__getitem__).text == "--id 0: must be at least 1"


def test_fields_inside_others_and_long_values() -> None:
    with pytest.raises(ValidationError) as error:
        TypeAdapter(dict[str, ScanInfo]).validate_python({"ore": {"spacing": "x" * 500, "particle_size": 1}})
    text = str(first_problem(error.value))
    assert text.startswith("ore.spacing 'xxx")
    assert len(text) < 130
