"""Names of options where an error is read: the front ends' half of `ps3d_core.errors`.

A remedy says `<memory>`. On the command line that is --memory, in the form of a flow "memory_gib" of its resources, and
a front end without such an option leaves the remedy out.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from ps3d_core.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

P = ParamSpec("P")
R = TypeVar("R")

# One option has several names: of a flag, of a field, of a flow's parameter, in ParticleSeg3D.
_SYNONYMS: Final = (
    {"memory", "memory_gib"},
    {"workers", "processes"},
    {"name", "scan", "scans"},
    {"fold", "folds"},
    {"tta", "mirror"},
    {"half", "half_precision"},
    {"id", "task", "dataset_id"},
    {"border_thickness", "thickness"},
    {"nominal_spacing", "target_spacing"},
    {"settle", "settle_seconds"},
)


def of_command(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the names of a command's options: the long flag, or what the help calls an argument without one."""
    return _with_synonyms({action.dest: _flag(action) for action in parser._actions})


def of_form(function: Callable[..., Any]) -> dict[str, str]:
    """Return the names of the fields in the form that Prefect shows for a flow; those inside others follow dots."""
    return _with_synonyms(dict(_fields(inspect.signature(function, eval_str=True).parameters.items())))


def form(function: Callable[P, R]) -> Callable[P, R]:
    """Let errors of a flow's `function` name the fields of its form when nobody words them otherwise."""
    names = of_form(function)

    @wraps(function)
    def worded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            error.names = names
            raise

    # Prefect looks types up by their names in the module of the function it is given, which is this one now.
    worded.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    worded.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return worded


def _flag(action: argparse.Action) -> str:
    strings = action.option_strings
    long = next((string for string in strings if string.startswith("--")), strings[0] if strings else None)
    return long or str(action.metavar or action.dest)


def _fields(parameters: Iterable[tuple[str, inspect.Parameter]]) -> Iterator[tuple[str, str]]:
    for name, parameter in parameters:
        yield name, name
        for model in _models(parameter.annotation):
            yield from _inside(model, name)


def _inside(model: type[BaseModel], place: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield name, f"{place}.{name}"
        for inner in _models(field.annotation):
            yield from _inside(inner, f"{place}.{name}")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The parameter model in an annotation like `Resources | None`, if there is one."""
    from typing import get_args

    from pydantic import BaseModel

    for part in (annotation, *get_args(annotation)):
        if inspect.isclass(part) and issubclass(part, BaseModel):
            yield part


def _with_synonyms(names: Mapping[str, str]) -> dict[str, str]:
    same = {
        other: names[name] for synonyms in _SYNONYMS for name in sorted(synonyms & names.keys()) for other in synonyms
    }
    return same | dict(names)
