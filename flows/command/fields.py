"""Options that are made of parameters: kind, limits, default and help are what a field of a model declares.

`add_fields` makes options of some fields of a model, `given` a model of what was said. A field is called the same on
the command line, except where `_FLAGS` says otherwise.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin

from ps3d_app.flows.command.arguments import size_mm, stated_spacing_mm, whole_number

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    Model = TypeVar("Model", bound=BaseModel)

Options = argparse.ArgumentParser | argparse._ActionsContainer

_FLAGS: Final = {
    "crop": "--roi",
    "dataset_id": "--id",
    "folds": "--fold",
    "half_precision": "--half",
    "memory_gib": "--memory",
    "mirror": "--tta",
    "settle_seconds": "--settle",
}
_VALUES: Final[dict[str, str | tuple[str, ...]]] = {
    "batch_size": "N",
    "crop": "Z0:Z1,Y0:Y1,X0:X1",
    "dask_scheduler": "ADDRESS",
    "inside": "PATH",
    "memory_gib": "GB",
    "nan": "VALUE",
    "planner": "CLASS",
    "raw": "SHAPE,TYPE,...",
    "roi": "REGION",
    "series": "PATTERN",
    "sha256": "HEX",
    "shape": ("Z", "Y", "X"),
    "start_from": "MODEL",
    "trainer": "CLASS",
    "zscore": ("MEAN", "STD"),
}
_KINDS: Final = {int: "N", float: "F", str: "NAME"}
_LENGTHS: Final = {"spacing": stated_spacing_mm, "particle_size": size_mm}
"""Fields whose values may have a unit."""


def add_fields(to: Options, model: type[BaseModel], *names: str) -> None:
    """Add an option for each of these fields of `model`, or for all."""
    for name in names or model.model_fields:
        add_field(to, model, name)


def flag_of(name: str) -> str:
    """Return what the option of a field is called."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def add_field(to: Options, model: type[BaseModel], name: str, *flags: str, **different: Any) -> None:
    """Add an option for one field of `model`.

    Args:
        to: parser or group that gets it.
        model: class of the parameters.
        name: of the field.
        flags: what the option is called, where that is not the field's own name.
        different: arguments of `add_argument` that are not as the field says.

    """
    field = model.model_fields[name]
    flags = flags or (flag_of(name),)
    to.add_argument(*flags, dest=name, **{**_described(name, field), **different})


def given(model: type[Model], args: argparse.Namespace, **changed: Any) -> Model:
    """Return an instance of `model` made of the options that were given; other fields have their defaults.

    Args:
        model: class of the parameters.
        args: what the command line said.
        changed: values that do not come from an option of the field's name; None is none.

    Raises:
        InputError: when a value does not fit; the message names the option.

    """
    from ps3d_core.invalid import made

    def flag(field: str) -> str:
        name = field.partition(".")[0]  # not which of its values
        return str(args.options.get(name, name))

    said = {name: getattr(args, name, None) for name in model.model_fields} | changed
    return made(model, flag, **{name: value for name, value in said.items() if value is not None})


def add_slab_memory(to: Options) -> None:
    """Add --memory to a command that reads volumes slab by slab."""
    from ps3d_core.memory_model import SLABS_BYTES
    from ps3d_core.params import GIB, Resources

    gib = SLABS_BYTES // GIB
    said = f"memory for slices on their way, GiB (default: {gib})"
    add_field(to, Resources, "memory_gib", default=float(gib), help=said)


def memory_bytes(args: argparse.Namespace) -> int:
    """Return the amount of memory that --memory says, in bytes.

    Raise `InputError` when it is no amount of memory.
    """
    from ps3d_core.params import GIB, Resources

    return int(given(Resources, args).memory_gib * GIB)


def _described(name: str, field: FieldInfo) -> dict[str, Any]:
    """Return what argparse has to know of a field."""
    from ps3d_core.quantities import plain_type

    kind, facts = plain_type(field.annotation)
    facts = [*field.metadata, *facts]
    said: dict[str, Any] = {"help": _help(field), "required": field.is_required()}
    if kind is bool:
        # What is off unless it is said needs no word for off.
        said = {"help": said["help"], "default": None}
        on = {"action": "store_const", "const": True}
        return said | (on if field.default is False else {"action": argparse.BooleanOptionalAction})
    if get_origin(kind) is Literal:
        return said | {"choices": get_args(kind)}
    metavar: str | tuple[str, ...] | None = _VALUES.get(name)
    if get_origin(kind) is tuple:
        members = [member for member in get_args(kind) if member is not Ellipsis]
        kind, inner = plain_type(members[0])
        said["nargs"] = len(members) if isinstance(metavar, tuple) else "+"
        facts = [*facts, *inner]
    if name in _LENGTHS:
        return said | {"type": _LENGTHS[name], "metavar": metavar or "MM"}
    return said | {"type": _type(kind, facts), "metavar": metavar or _unit(facts) or _KINDS.get(kind, "VALUE")}


def _help(field: FieldInfo) -> str:
    """Return the meaning of a field, and its default where a value stands for that."""
    default = "on" if field.default is True else field.default
    is_said = isinstance(default, str | int | float) and default is not False
    shown = f"{default:g}" if isinstance(default, float) else default
    return f"{field.description}{f' (default: {shown})' if is_said else ''}".replace("%", "%%")


def _unit(facts: list[Any]) -> str | None:
    from ps3d_core.quantities import Unit

    return next((fact.name.upper() for fact in facts if isinstance(fact, Unit)), None)


def _type(kind: Any, facts: list[Any]) -> Any:
    """Return what makes a value of a text; limits of numbers that are not whole are the model's to check."""
    if kind is int:
        least = next((fact.ge for fact in facts if getattr(fact, "ge", None) is not None), None)
        return whole_number(least)
    return {float: float}.get(kind, str)
