"""`ps3d model info`: what a model bundle is and how well it works."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

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
    """Describe one bundle."""
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.network.bundle import load_bundle

    bundle = load_bundle(args.bundle)
    info = bundle.info
    if args.json:
        print(info.model_dump_json(indent=2))
        return
    print(f"{info.name}  ({bundle.location})")
    print(f"  digest                {info.digest}")
    print(f"  folds                 {', '.join(map(str, bundle.folds))}")
    print(f"  patch                 {shape_text(info.patch_size)} voxels")
    print(f"  mean particle         {info.target_particle_size:g} voxels on the network grid")
    print(f"  border                {info.border_thickness:g} voxels")
    print(f"  grey values           {_line(info.normalisation.model_dump())}")
    network = info.architecture
    print(f"  network               {network.network}, {' '.join(map(str, network.features_per_stage))} features")
    facts = {key: value for key, value in info.training.items() if not isinstance(value, dict | list)}
    if facts:
        print(f"  training              {_line(facts)}")
    if info.accuracy:
        print("  accuracy")
        for line in _table(info.accuracy):
            print(f"    {line}")
    print("  more                  --json")


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
