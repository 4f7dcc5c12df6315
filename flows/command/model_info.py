"""`ps3d model info`: what a model bundle is and how well it works."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ps3d_core.network.bundle import Bundle

PURPOSE = "show what a model needs and how accurate it is"
EXAMPLES = """\
  ps3d model info                   the model that comes with ps3d
  ps3d model info my-bundle/ --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "bundle", nargs="?", default="bundled", metavar="BUNDLE", help="bundled, or folder or URL (default: bundled)"
    )
    parser.add_argument("--json", action="store_true", help="the whole description as JSON")


def run(args: argparse.Namespace) -> None:
    """Print the description of one model bundle."""
    from ps3d_core.network.bundle import load_bundle
    from ps3d_core.printable import printable

    bundle = load_bundle(args.bundle)
    if args.json:
        # ASCII but for Delete: what a stranger's bundle says must not steer the terminal.
        print(json.dumps(bundle.info.model_dump(mode="json"), indent=2).replace("\x7f", "\\u007f"))
        return
    for line in _description(bundle):
        print(printable(line))


def _description(bundle: Bundle) -> Iterator[str]:
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.network.measured import rows_of_levels, rows_of_scans

    info = bundle.info
    yield f"{info.name}  ({bundle.location})"
    yield f"  digest                {info.digest}"
    yield f"  folds                 {', '.join(map(str, bundle.folds))}"
    yield f"  patch                 {shape_text(info.patch_size)} voxels"
    yield f"  mean particle         {info.target_particle_size:g} voxels on the network grid"
    yield f"  border                {info.border_thickness:g} voxels"
    if info.smallest_core is not None:
        yield f"  smallest core         {info.smallest_core} voxels"
    if info.least_certainty is not None:
        yield f"  least certainty       {info.least_certainty:g} of a particle's voxels, on average"
    if info.greatest_length is not None:
        yield f"  greatest length       {info.greatest_length:g} equivalent diameters"
    if info.greatest_neck is not None:
        yield f"  greatest neck         {info.greatest_neck:g} of the width of the narrower part"
    if (calibration := info.calibration) is not None:
        yield f"  calibration           on {calibration.particles} particles, {calibration.right} of them right"
    else:
        yield "  calibration           none: how sure it is of a particle says nothing of how often it is right"
    yield f"  grey values           {_line(info.normalisation.model_dump())}"
    network = info.architecture
    yield f"  network               {network.network}, {' '.join(map(str, network.features_per_stage))} features"
    facts = {key: value for key, value in info.training.items() if not isinstance(value, dict | list)}
    if facts:
        yield f"  training              {_line(facts)}"
    for title, rows in (
        ("accuracy", rows_of_scans(info.accuracy)),
        ("mean accuracy by quality", rows_of_levels(info.accuracy)),
    ):
        if rows:
            yield f"  {title}"
            yield from (f"    {line}" for line in _table(rows))
    yield "  more                  --json"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as aligned columns, words of their titles below one another."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    titles = [column.split("_") for column in columns]
    height = max(map(len, titles))
    cells = [[title[i] if i < len(title) else "" for title in titles] for i in range(height)]
    cells += [["" if row.get(column) is None else _line(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _line(record: Any) -> str:
    if isinstance(record, dict):
        return ", ".join(f"{key} {_line(value)}" for key, value in record.items() if value not in (None, {}, ()))
    if isinstance(record, list | tuple):
        return " ".join(map(_line, record))
    return f"{record:.4g}" if isinstance(record, float) else str(record)
