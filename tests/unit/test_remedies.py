"""Every remedy that an error names exists where the error is read.

Errors of the library name options in angle brackets; here every error in the code is looked at, and every front end.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prefect import Flow
from pydantic import BaseModel, ValidationError

from ps3d_app.flows.command.command_line import parser_of, ps3d_parser
from ps3d_app.flows.command.commands import COMMANDS, Command
from ps3d_app.flows.command.reference import conversions, inference, train_preprocess
from ps3d_app.flows.estimate_zscore import estimate_zscore
from ps3d_app.flows.ingest_scan import ingest_scan
from ps3d_app.flows.options import form, of_form
from ps3d_app.flows.prepare_training_data import prepare_training_data
from ps3d_app.flows.process_inbox import process_inbox
from ps3d_app.flows.process_scan import process_scan
from ps3d_app.flows.prune_work import prune_work
from ps3d_app.flows.release_scan import release_scan
from ps3d_app.flows.retry_scan import retry_scan
from ps3d_app.flows.segment_dataset import segment_dataset
from ps3d_app.flows.segment_scan import segment_scan
from ps3d_app.flows.train_model import train_model
from ps3d_core import params, phase_params, size_params
from ps3d_core.errors import InputError, StoreError
from ps3d_core.inbox.description import FILE, ScanDescription, ScanSettings, in_description
from ps3d_core.inbox.reason import reason_of
from ps3d_core.params import Resources, SourceParams
from ps3d_core.phantom import params as phantom_params

ROOT = Path(__file__).parents[2]
FORMS = (
    estimate_zscore,
    ingest_scan,
    prepare_training_data,
    process_inbox,
    process_scan,
    release_scan,
    retry_scan,
    prune_work,
    segment_dataset,
    segment_scan,
    train_model,
)
REFERENCE: dict[str, Command] = {
    **conversions.CONVERSIONS,
    inference.NAME: inference,
    train_preprocess.NAME: train_preprocess,
}
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
OPTION = re.compile(r"<([a-z][a-z0-9_]*)>")
OURS = (
    "InputError",
    "StoreError",
    "MissingDataError",
    "CorruptDataError",
    "AccessDeniedError",
    "NoSpaceError",
    "Ps3dError",
)
# Messages that begin elsewhere: of another error, of a child process, of what was checked together.
PASSED_ON = {
    "flows/command/arguments.py",
    "flows/command/reference/inference.py",
    "ps3d_core/comparison/compare.py",
    "ps3d_core/errors.py",
    "ps3d_core/inbox/claim.py",
    "ps3d_core/invalid.py",
    "ps3d_core/inbox/description.py",
    "ps3d_core/inbox/verdict.py",
    "ps3d_core/network/nnunet/archive.py",
    "ps3d_core/training/checks.py",
    "ps3d_core/training/nnunet/child.py",
}


class Raised(NamedTuple):
    """An error as the code makes it: `parts` are its problem and its remedies, as far as they are written there."""

    place: str
    kind: str
    parts: tuple[str, ...]


def raised(kinds: tuple[str, ...] = OURS) -> Iterator[Raised]:
    for package in ("ps3d_core", "tasks", "flows"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                    place = str(file.relative_to(ROOT))
                    yield Raised(f"{place}:{node.lineno}", node.func.id, tuple(map(written, node.args)))


def written(node: ast.expr) -> str:
    """The text of a string in the code, with {} for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part) for part in node.values)
    return "{}"


ERRORS = list(raised())


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Every command of ps3d, and those of ParticleSeg3D."""
    found = {name: parser_of(name, command) for name, command in REFERENCE.items()}
    return found | {f"ps3d {name}": parser_of(name, command) for name, command in COMMANDS.items()}


def known_options() -> set[str]:
    names = {option for parser in parsers().values() for option in parser.get_default("options")}
    return names.union(*(of_form(flow.fn) for flow in FORMS))


def test_errors_are_found() -> None:
    assert len(ERRORS) > 200


def test_the_library_names_no_flags() -> None:
    library = [error for error in ERRORS if error.place.startswith(("ps3d_core", "tasks"))]
    assert not [error for error in library if FLAG.search(" ".join(error.parts))]


def test_the_library_names_no_fields() -> None:
    """Fields of parameters are called otherwise in every front end; keys of files are what they are."""
    models = (vars(module).values() for module in (params, phase_params, size_params, phantom_params))
    fields = {
        name
        for model in (each for values in models for each in values)
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name in model.model_fields
        if "_" in name
    }
    assert {"find_phases", "blur_voxels", "size_mm", "particle_size", "ghost_shift"} <= fields
    said = [error for error in (*ERRORS, *raised(("ValueError",))) if not error.place.startswith("flows")]
    bare = [(error, re.findall(r"[a-z]+(?:_[a-z0-9]+)+", OPTION.sub("", " ".join(error.parts)))) for error in said]
    assert not [error for error, words in bare if fields & {*words} and not re.search(r"\.json|{\"", str(error.parts))]


@pytest.mark.parametrize(
    "wrong",
    [
        {"phase": ["a=1:2"], "find_phases": 2},
        {"phases": {"phases": [{"name": "a", "intervals": {"grey": {"low": 1, "high": 2}}}]}, "find_phases": 2},
        {"phase": ["a=1:2"], "sizes": {"densities": {"b": 2}}},
        {"sizes": {"densities": {"b": 2}}},
        {"sizes": {"size": "sieve"}},
        {"sizes": {"density": 2, "densities": {"b": 2}}},
        {"sizes": {"weighting": "mass"}},
        {"phase": ["a=high:1:2"]},
    ],
    ids=str,
)
def test_what_does_not_go_together_is_said_without_fields(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as failed:
        params.MeasureParams(**wrong)
    problem, remedy = str(failed.value.errors()[0]["msg"]).removeprefix("Value error, ").split("; ")
    assert not re.search(r"\w_\w|<|--|^(phases?|density|densities|weighting|columns|images?) \w+:", problem + remedy)


def test_options_in_remedies_are_known_and_nowhere_else() -> None:
    known = known_options()
    assert {"memory", "workers", "name", "spacing", "overwrite", "allow_gaps", "zscore", "fold"} <= known
    for error in ERRORS:
        problem, *remedies = error.parts
        assert not OPTION.search(problem), error
        for option in OPTION.findall(" ".join(remedies)):
            assert option in known, (error, option)


def test_every_error_says_what_to_do() -> None:
    assert not [
        error
        for error in ERRORS
        if error.kind == "InputError"
        and len(error.parts) == 1
        and not re.search(r"; \S|: {}$", error.parts[0])  # the latter is a problem that pydantic found, with remedy
        and error.place.partition(":")[0] not in PASSED_ON
    ]


@pytest.mark.parametrize(("name", "parser"), parsers().items(), ids=parsers())
def test_a_command_calls_options_what_it_has(name: str, parser: argparse.ArgumentParser) -> None:
    options = parser.get_default("options")
    flags = set(parser._option_string_actions)
    arguments = {str(action.metavar or action.dest) for action in parser._actions if not action.option_strings}
    assert set(options.values()) <= flags | arguments
    for option in known_options():
        message = InputError("no", f"try <{option}>").worded(options.get)
        assert message == (f"no; try {options[option]}" if option in options else "no")


@pytest.mark.parametrize("name", [*COMMANDS, *REFERENCE])
def test_flags_in_messages_of_a_command_are_its_own(name: str) -> None:
    command = REFERENCE[name] if name in REFERENCE else COMMANDS[name]
    module = type(command).__module__ if isinstance(command, conversions.Conversion) else command.__name__
    file = module.removeprefix("ps3d_app.").replace(".", "/") + ".py"
    flags = set(parser_of(name, command)._option_string_actions)
    for error in ERRORS:
        if error.place.startswith(f"{file}:"):
            assert set(FLAG.findall(" ".join(error.parts))) <= flags, error


def test_flags_of_the_library_of_commands_are_none() -> None:
    shared = [error for error in ERRORS if re.match(r"flows/(\w+|machine/\w+|service/.+)\.py:", error.place)]
    assert not [error for error in shared if FLAG.search(" ".join(error.parts))]


@pytest.mark.parametrize("flow", FORMS, ids=lambda flow: flow.name)
def test_a_form_calls_options_what_its_fields_are(flow: Flow[..., Any]) -> None:
    for place in of_form(flow.fn).values():
        assert has_field(flow.parameters.model_dump(), place.split(".")), place


def has_field(schema: dict[str, Any], path: list[str]) -> bool:
    """Whether the schema of a form has this field."""
    inside = [schema]
    for name in path:
        there = [part["properties"][name] for part in inside if name in part.get("properties", {})]
        if not there:
            return False
        inside = [schema["definitions"][found] for found in re.findall(r"#/definitions/(\w+)", str(there))]
    return True


def test_an_error_of_a_flow_is_worded_for_its_form_and_for_the_command() -> None:
    @form
    def flow(scans: list[str], resources: Resources) -> None:
        raise InputError("no", "give another <name>", "raise <memory>", "insist with <allow_gaps>")

    with pytest.raises(InputError) as failed:
        flow([], Resources())
    assert str(failed.value) == "no; give another scans, or raise resources.memory_gib"
    assert failed.value.worded({"memory": "--memory"}.get) == "no; raise --memory"


def test_a_description_can_say_what_a_reason_advises() -> None:
    assert in_description("spacing") == f'"spacing" in {FILE}'
    assert in_description("fold") == f'"folds" in the settings of {FILE}'
    can_say = {name for model in (ScanDescription, ScanSettings, SourceParams) for name in model.model_fields}
    for option in known_options():
        called = in_description(option)
        assert called is None or re.findall(r'"(\w+)"', called)[0] in can_say
    error = InputError("slice 7 is missing", "restore it", "accept that with <allow_gaps>", "leave out <overwrite>")
    advised = 'slice 7 is missing; restore it, or accept that with "allow_gaps" in the source of scan.json'
    assert reason_of(error) == advised
    assert reason_of(StoreError("no answer", "wait")) == "no answer; wait"


def test_all_commands_are_here() -> None:
    assert ps3d_parser().get_default("options") is None
    assert len(parsers()) == len(COMMANDS) + 7
