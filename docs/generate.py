"""Pages of the reference that are made of the code: what it declares is written down once, there.

PAGES    place in the site -> function that returns the page in Markdown
"""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import ps3d_core
from ps3d_app.flows.command.command_line import parser_of
from ps3d_app.flows.command.commands import COMMANDS
from ps3d_app.flows.command.reference import inference, train_preprocess
from ps3d_app.flows.command.reference.conversions import CONVERSIONS
from ps3d_core import params
from ps3d_core.measuring.chosen import chosen
from ps3d_core.particles.column import COSTS, Column
from ps3d_core.quantities import plain_type
from ps3d_core.record import RunRecord
from ps3d_core.store.layout import Dataset, Result, ScanInfo
from ps3d_core.store.location import Location

WIDTH: Final = 96
FEW_DIGITS: Final = 10**10
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|])")


def ps3d_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command of `ps3d`, by its whole name."""
    return {f"ps3d {name}": parser_of(f"ps3d {name}", command) for name, command in COMMANDS.items()}


def reference_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands that have the names of ParticleSeg3D."""
    alone = {module.NAME: module for module in (inference, train_preprocess)}
    return {name: parser_of(name, command) for name, command in (CONVERSIONS | alone).items()}


def commands_page() -> str:
    """Every command of `ps3d` with its arguments, as `--help` tells them."""
    intro = """\
# Commands

    ps3d COMMAND [arguments]
    ps3d COMMAND --help

Lengths are in mm, or have a unit (`12.5um`); axes are z, y, x. A place is a folder, `s3://bucket/prefix` or
`memory://name`. How commands end is in [exit statuses](environment.md#exit-statuses).
"""
    return intro + _overview(ps3d_parsers()) + "\n".join(map(_command, ps3d_parsers().values()))


def particleseg3d_page() -> str:
    """The commands of ParticleSeg3D."""
    intro = """\
# Commands of ParticleSeg3D

They take its flags and put results where it does, so that scripts written for it go on working. What is different on
purpose is told in [scans](../rooms/scan.md#the-commands-of-particleseg3d).
"""
    return intro + _overview(reference_parsers()) + "\n".join(map(_command, reference_parsers().values()))


def python_page() -> str:
    """The names that the library promises to keep."""
    text = """\
# Python

    import ps3d_core as ps3d

The names on this page are `ps3d_core.__all__` and follow semantic versioning; everything below them may change. They
are imported when they are first used, so that `import ps3d_core` itself is light.
"""
    groups: dict[str, list[str]] = {"Functions": [], "Results and sources": [], "Parameters": [], "Errors": []}
    for name in (name for name in ps3d_core.__all__ if name != "__version__"):
        thing = getattr(ps3d_core, name)
        if inspect.isfunction(thing):
            groups["Functions"].append(f"::: {thing.__module__}.{name}\n")
        elif issubclass(thing, Exception):
            groups["Errors"].append(f"::: {thing.__module__}.{name}\n    options: {{members: false}}\n")
        elif thing.__module__ == params.__name__:
            groups["Parameters"].append(f"- [`{name}`](parameters.md#{name.lower()}): {_first_line(thing)}")
        elif issubclass(thing, BaseModel):
            groups["Results and sources"].append(_model(thing))
        else:
            groups["Results and sources"].append(f"::: {thing.__module__}.{name}\n")
    for title, parts in groups.items():
        text += f"\n## {title}\n\n" + "\n".join(parts) + "\n"
    return text + f"\n`ps3d_core.__version__` is the release, here {ps3d_core.__version__}.\n"


def parameters_page() -> str:
    """Every parameter model, with limits and defaults."""
    text = """\
# Parameters

What stages can be told, with the names that Python, the forms of [deployments](../rooms/deployments.md) and
`run.json` have for it. Values out of bounds are refused before anything is done. All models are frozen and take no
other names.
"""
    models = [
        each
        for each in vars(params).values()
        if inspect.isclass(each)
        and issubclass(each, BaseModel)
        and each.__module__ == params.__name__
        and not each.__name__.startswith("_")
    ]
    return text + "\n" + "\n".join(_model(model, rank=2) for model in models)


def table_page() -> str:
    """Columns of the particle table."""
    text = """\
# Columns of the table

`particles.parquet` and `particles.csv` have one row per particle, in order of the labels, and these columns. Unit,
meaning, formula and source are also in the Parquet file, as metadata of its fields. What to keep in mind when using
them is in [particles](../rooms/particles.md). `--columns` chooses: `core` is what every table has, `shape` adds what
needs each particle as a whole, `all` adds what touches what.
"""
    choices = {cost: chosen(params.MeasureParams(columns=cost)).columns for cost in COSTS}
    before: tuple[Column, ...] = ()
    for cost, columns in choices.items():
        text += f"\n## {cost}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n"
        text += "".join(_column(each) for each in columns if each not in before)
        before = columns
    return text


def _column(column: Column) -> str:
    """A column as a row of a table."""
    meaning = "; ".join(filter(None, (column.meaning, column.formula, column.source)))
    return f"| `{column.name}` | {column.type} | {_cell(column.unit)} | {_cell(meaning)} |\n"


def files_page() -> str:
    """Where everything lies."""
    dataset, result = Dataset(Location.parse("memory://DATASET")), Result(Location.parse("memory://OUTPUT"), "NAME")
    return f"""\
# Files

Both live in a folder or on S3. Hidden files beside these belong to ps3d, see
[what is ps3d's](../rooms/store.md#what-is-ps3ds-and-what-is-yours); copy them with the rest.

## A dataset

`ps3d ingest` makes it.

{_places(_paths(dataset))}
An entry of metadata.json:

{_fields(ScanInfo)}
## A result

`ps3d segment` makes it, one folder per scan.

{_places(_paths(result))}
run.json says what was run. It is written last, so a folder that has one is whole:

{_fields(RunRecord)}
`ps3d measure` writes the table alone; what `ps3d train` makes is in [networks](../rooms/network.md), what
`ps3d prepare-training` makes in [training](../rooms/training.md), and what lies in an inbox in
[the inbox](../rooms/inbox.md).
"""


PAGES: Final[dict[str, Callable[[], str]]] = {
    "reference/commands.md": commands_page,
    "reference/particleseg3d.md": particleseg3d_page,
    "reference/python.md": python_page,
    "reference/parameters.md": parameters_page,
    "reference/table.md": table_page,
    "reference/files.md": files_page,
}


def _overview(parsers: dict[str, argparse.ArgumentParser]) -> str:
    rows = (f"| [`{name}`](#{name.replace(' ', '-')}) | {_cell(each.description)} |" for name, each in parsers.items())
    return "\n| | |\n|---|---|\n" + "\n".join(rows) + "\n\n"


def _command(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    parts = [f"## {parser.prog}", str(parser.description), _block(formatter.format_help().rstrip().splitlines())]
    for group in parser._action_groups:
        shown = [each for each in group._group_actions if not isinstance(each, argparse._HelpAction)]
        if shown:
            title = {"positional arguments": "arguments"}.get(str(group.title), group.title)
            rows = (f"| {_names(each)} | {_cell(formatter._expand_help(each))} |" for each in shown if each.help)
            parts.append(f"| {title} | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join([*parts, *_epilog(parser.epilog or "")]) + "\n"


def _names(action: argparse.Action) -> str:
    metavar = action.metavar
    value = " ".join(metavar) if isinstance(metavar, tuple) else metavar
    if value is None and action.choices is not None:
        value = "\\|".join(map(str, action.choices))
    if not action.option_strings:
        return f"`{value or action.dest}`"
    value = "" if action.nargs == 0 or value is None else f" {value}"
    more = " ..." if action.nargs in ("+", "*") else ""
    return f"`{', '.join(action.option_strings)}{value}{more}`"


def _epilog(text: str) -> Iterator[str]:
    """Examples as blocks, what is said about them as paragraphs."""
    for paragraph in text.removeprefix("Examples:\n").split("\n\n"):
        lines: list[str] = []
        for line in [*paragraph.splitlines(), None]:
            if lines and (line is None or line.startswith("  ") != lines[0].startswith("  ")):
                yield (
                    _block(lines)
                    if lines[0].startswith("  ")
                    else "\n".join(_SPECIAL.sub(r"\\\1", each) for each in lines)
                )
                lines = []
            if line:
                lines.append(line)


def _block(lines: Iterable[str]) -> str:
    return "```text\n" + textwrap.dedent("\n".join(lines)) + "\n```"


def _model(model: type[BaseModel], rank: int = 3) -> str:
    return f"{'#' * rank} {model.__name__}\n\n{inspect.getdoc(model)}\n\n{_fields(model)}"


def _fields(model: type[BaseModel]) -> str:
    rows = [
        (name, _type_text(field.annotation), _default(field), _meaning(field))
        for name, field in model.model_fields.items()
    ]
    rows += [
        (name, _type_text(field.return_type), "", inspect.getdoc(field.wrapped_property) or "")
        for name, field in model.model_computed_fields.items()
    ]
    with_defaults = any(default for _, _, default, _ in rows)
    head = "| name | type | default | |\n|---|---|---|---|" if with_defaults else "| name | type | |\n|---|---|---|"
    lines = [
        f"| `{name}` | {_cell(kind)} |{f' {default} |' if with_defaults else ''} {_cell(meaning)} |"
        for name, kind, default, meaning in rows
    ]
    return "\n".join([head, *lines]) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    if field.default_factory is not None:
        return "the machine's"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return "" if field.default in (None, {}) else f"`{field.default!r}`"


def _meaning(field: FieldInfo) -> str:
    """The description, and the limits where there are some."""
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [
        f"{words} {f'{value:,}' if isinstance(value, int) and value < FEW_DIGITS else f'{value:.4g}'}"
        for limit in (*field.metadata, *plain_type(field.annotation)[1])
        for sign, words in signs.items()
        if isinstance(value := getattr(limit, sign, None), int | float)
    ]
    return "; ".join(filter(None, (field.description, " and ".join(limits))))


def _type_text(annotation: Any) -> str:
    """A type as a person would write it, without what checks its values."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_text(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(each) for each in inner if each is not type(None))
    if origin is Literal:
        return ", ".join(map(str, inner))
    if annotation is Ellipsis:
        return "..."
    name = (origin or annotation).__name__ if annotation is not Any else "any"
    return f"{name}[{', '.join(map(_type_text, inner))}]" if inner else str(name)


def _paths(layout: Dataset | Result) -> Iterator[tuple[str, str]]:
    """Places that a layout knows, each with what its property or method says of it."""
    for name, member in vars(type(layout)).items():
        if isinstance(member, property):
            place = getattr(layout, name)
        elif name in ("image", "truth"):
            place = getattr(layout, name)("NAME")
        else:
            continue
        if isinstance(place, Location) and name != "root":
            yield str(place).removeprefix("memory://"), _first_line(member)


def _places(paths: Iterable[tuple[str, str]]) -> str:
    return "| file | |\n|---|---|\n" + "\n".join(f"| `{path}` | {_cell(text)} |" for path, text in paths) + "\n"


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _cell(text: str | None) -> str:
    """A text as it stands, in a cell of a table."""
    return _SPECIAL.sub(r"\\\1", " ".join((text or "").split()))
