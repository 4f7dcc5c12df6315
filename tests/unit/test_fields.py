"""Options that are made of parameters say what the fields declare, and nothing else."""

from __future__ import annotations

import argparse

import pytest
from pydantic import BaseModel

from ps3d_app.flows.command.command_line import parser_of
from ps3d_app.flows.command.commands import COMMANDS
from ps3d_app.flows.command.fields import add_fields, given
from ps3d_core.errors import InputError
from ps3d_core.params import (
    ExportParams,
    ImportParams,
    InboxParams,
    IngestParams,
    InstancesParams,
    PredictParams,
    PreparationParams,
    Resources,
    TrainParams,
    ZScoreParams,
)
from ps3d_core.phantom.params import PhantomParams

OFFERED: dict[str, tuple[type[BaseModel], ...]] = {
    "segment D O": (PredictParams, InstancesParams),
    "instances B O": (InstancesParams,),
    "ingest S D --name n --particle-size 0.3": (IngestParams,),
    "export S D --format tiff": (ExportParams,),
    "zscore D": (ZScoreParams,),
    "prepare-training D O": (PreparationParams,),
    "train D B": (TrainParams,),
    "model import S B": (ImportParams,),
    "inbox P": (InboxParams,),
    "phantom D --name n --shape 8 8 8 --particle-size-voxels 20 --seed 0": (PhantomParams,),
}
REQUIRED = {
    IngestParams: {"particle_size": 0.3},
    ExportParams: {"format": "tiff"},
    PhantomParams: {"shape": (8, 8, 8)},
}


def said(line: str) -> argparse.Namespace:
    name = next(name for name in sorted(COMMANDS, key=len, reverse=True) if line.startswith(f"{name} "))
    return parser_of(name, COMMANDS[name]).parse_args(line.removeprefix(name).split())


@pytest.mark.parametrize("line", OFFERED)
def test_what_is_not_said_is_as_the_parameters_have_it(line: str) -> None:
    for model in OFFERED[line]:
        assert given(model, said(line)) == model(**REQUIRED.get(model, {}))


@pytest.mark.parametrize(
    ("line", "model", "values"),
    [
        ("segment D O --fold 0 2 --no-tta", PredictParams, {"folds": (0, 2), "mirror": False}),
        ("segment D O --quality fast --tta", PredictParams, {"quality": "fast", "mirror": True}),
        (
            "segment D O --zscore 21000 4300 --allow-absurd",
            PredictParams,
            {"zscore": (21e3, 4300), "allow_absurd": True},
        ),
        ("segment D O --workers 3 --memory 7.5", Resources, {"workers": 3, "memory_gib": 7.5}),
        (
            "train D B --fold all --patch 48 --half",
            TrainParams,
            {"folds": "all", "patch": (48,) * 3, "half_precision": True},
        ),
        ("train D B --fold 3 1 --patch 32 48 64", TrainParams, {"folds": (1, 3), "patch": (32, 48, 64)}),
        (
            "ingest S D --name n --particle-size 300um --spacing 12.5um",
            IngestParams,
            {"particle_size": 0.3, "spacing": 0.0125},
        ),
        (
            "export S D --format zarr --labels --spacing 20,10,10um",
            ExportParams,
            {"labels": True, "spacing": (0.02, 0.01, 0.01)},
        ),
        ("prepare-training D O --id 7", PreparationParams, {"dataset_id": 7}),
        ("inbox P --settle 5 --on-doubt hold", InboxParams, {"settle_seconds": 5, "on_doubt": "hold"}),
    ],
)
def test_what_is_said_becomes_the_field(line: str, model: type[BaseModel], values: dict[str, object]) -> None:
    made = given(model, said(line))
    assert {name: getattr(made, name) for name in values} == values


def test_an_option_tells_meaning_unit_and_default() -> None:
    parser = argparse.ArgumentParser(prog="p")
    add_fields(parser, PreparationParams, "target_particle_size", "instances")
    add_fields(parser, Resources, "memory_gib")
    text = " ".join(parser.format_help().split())
    assert "--target-particle-size VOXELS" in text
    assert "diameter that the mean particle is resampled to, voxels (default: 60)" in text
    assert "--memory GB memory that the run may use, GiB; 60 % of what is free when left out" in text
    assert "(default: False)" not in text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("segment D O --batch-size 9999", "--batch-size 9999: must be at most 256; give less"),
        ("segment D O --fold 100", "--fold 100: must be at most 99; give less"),
        ("segment D O --target-particle-size 0.5", "--target-particle-size 0.5: must be above 1; give more"),
        ("train D B --patch 32 48", "--patch [32, 48]: 2 sides; give one side for all axes, or three, z y x"),
        ("train D B --fold all 1", "--fold ['all', '1']: all is one model of all cases; give either numbers or all"),
    ],
)
def test_what_does_not_fit_is_told_with_its_option(line: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        given(TrainParams if line.startswith("train") else PredictParams, said(line))
    assert str(error.value) == says
