"""Names that people give to images and phases, and that become names of columns: all are told apart, case aside."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ps3d_app.flows.command.cli import main
from ps3d_core.invalid import first_problem
from ps3d_core.measuring.chosen import chosen
from ps3d_core.params import MeasureParams
from ps3d_core.phases import COLUMN_GROUPS, GREY, phases_of
from ps3d_core.size_params import SizeParams

PHASES = ("quartz=1:5", "pyrite=6:9")


def columns_of(**said: Any) -> list[str]:
    params = MeasureParams(columns="all", **said)
    found = phases_of(PHASES) if params.find_phases else None
    return [column.name for column in chosen(params, found or params.stated()).columns]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"images": ["grey=a"]}, "image 1, grey is named like the scan itself, grey; rename"),
        ({"images": ["Grey=a"]}, "image 1, Grey is named like the scan itself, grey, which differs by upper and lower"),
        ({"images": ["high=a", "high=b"]}, "image 2, high is named like image 1, high; rename"),
        ({"images": ["high=a", "HIGH=b"]}, "image 2, HIGH is named like image 1, high, which differs"),
        ({"images": ["Quartz=a"], "phase": PHASES}, "phase quartz is named like image 1, Quartz, which differs"),
        ({"images": ["quartz=a"], "phase": PHASES}, "phase quartz is named like image 1, quartz; rename"),
        ({"images": ["P2=a"], "find_phases": 2}, "phase p2 is named like image 1, P2"),
        ({"images": ["Volume=a"]}, "columns of every table begin with volume; give the image another name"),
        ({"images": ["phase=a"]}, "columns of every table begin with phase"),
        ({"phase": ["quartz=1:5", "Quartz=6:9"]}, "phase 2, Quartz is named like phase 1, quartz, which differs"),
        ({"phase": ["Grey=1:5"]}, "phase Grey is named like the scan itself, grey"),
        ({"phase": ["a=Grey:1:5"]}, "a phase is of image Grey, which was not given; did you mean grey?"),
        ({"phase": ["a=high:1:5,High:1:5"]}, "image high is named like image High, which differs"),
        ({"phase": PHASES, "sizes": {"densities": {"quartz": 2, "QUARTZ": 3}}}, "phase QUARTZ is named like phase qu"),
    ],
    ids=str,
)
def test_names_that_are_one_are_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as failed:
        MeasureParams(**said)
    assert words in str(first_problem(failed.value))


def test_every_name_that_is_taken_makes_columns_of_its_own() -> None:
    names = columns_of(images=["high=a", "phase_quartz=b", "quartz_grey=c"], phase=PHASES)
    assert len({name.lower() for name in names}) == len(names)
    assert SizeParams(densities={"quartz": 2, "pyrite": 5}).densities == {"quartz": 2, "pyrite": 5}


def test_groups_of_columns_are_those_of_the_table() -> None:
    assert {name.partition("_")[0] for name in columns_of(phase=PHASES)} == COLUMN_GROUPS | {GREY}


def test_the_command_says_it_in_one_line(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "labels", str(tmp_path / "table"), "--image", "Grey=b.zarr"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "image 1, Grey is named like the scan itself, grey" in error
