"""Inputs that cannot be used, and the commands that are given them.

A case spoils a copy of the workspace and gives a command. Whatever the command is, it has to end with status 2 and one
line whose flags are its own, and to leave the folder as it was. Add a case by adding a line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from tests.unit.workspace import change_metadata, grey_values, write_slices, write_zarr

Spoil = Callable[[Path], None]
INGEST = "--name new --spacing 0.01 --particle-size 0.08"


class BadInput(NamedTuple):
    """What is wrong in the workspace, and a command that meets it."""

    name: str
    command: str
    spoil: Spoil = lambda here: None


def cut(name: str) -> Spoil:
    """The second half of a file is gone."""

    def spoil(here: Path) -> None:
        content = (here / name).read_bytes()
        (here / name).write_bytes(content[: len(content) // 2])

    return spoil


def text(name: str, content: str) -> Spoil:
    """A file holds this text."""

    def spoil(here: Path) -> None:
        (here / name).write_text(content)

    return spoil


def gone(name: str) -> Spoil:
    """A file is not there."""
    return lambda here: (here / name).unlink()


def metadata(**entry: object) -> Spoil:
    """metadata.json says this of the scan."""
    return lambda here: change_metadata(here / "data", ore=entry)


def a_chunk(kind: str, of: str) -> Spoil:
    """One chunk of an image is missing or damaged."""

    def spoil(here: Path) -> None:
        chunk = next(path for path in sorted((here / of / "0" / "c").rglob("*")) if path.is_file())
        if kind == "gone":
            chunk.unlink()
        else:
            content = bytearray(chunk.read_bytes())
            content[len(content) // 3] ^= 0xFF
            chunk.write_bytes(bytes(content))

    return spoil


def not_a_number(here: Path) -> None:
    values = grey_values().astype(np.float32)
    values[3, 4, 5] = np.nan
    write_slices(here / "nan", values)


def two_shapes(here: Path) -> None:
    tifffile.imwrite(here / "slices" / "ore_0012.tif", grey_values()[0][1:], photometric="minisblack")


def negative_labels(here: Path) -> None:
    write_slices(here / "negative", -np.ones((24, 40, 32), np.int16))


def float_labels(here: Path) -> None:
    write_zarr(here / "float.zarr", np.full((24, 40, 32), 0.5, np.float32))


BAD_INPUTS = (
    BadInput("a slice is cut off", f"ingest slices new {INGEST}", cut("slices/ore_0012.tif")),
    BadInput("a slice is empty", f"ingest slices new {INGEST}", text("slices/ore_0012.tif", "")),
    BadInput("a slice is text", f"ingest slices new {INGEST}", text("slices/ore_0012.tif", "grey")),
    BadInput("a slice is missing", f"ingest slices new {INGEST}", gone("slices/ore_0012.tif")),
    BadInput("a slice has another shape", f"ingest slices new {INGEST}", two_shapes),
    BadInput("a stack is cut off", f"ingest one.tif new {INGEST}", cut("one.tif")),
    BadInput("a stack is cut off, export", "export one.tif out.nii --format nifti", cut("one.tif")),
    BadInput("a NIfTI is cut off", f"ingest ore.nii.gz new {INGEST}", cut("ore.nii.gz")),
    BadInput("a NIfTI is text", f"ingest ore.nii.gz new {INGEST}", text("ore.nii.gz", "grey")),
    BadInput("not a number", f"ingest nan new {INGEST}", not_a_number),
    BadInput("labels of another shape", "ingest other.zarr data --name ore --labels --overwrite"),
    BadInput("labels below 0", "ingest negative data --name ore --labels --overwrite", negative_labels),
    BadInput("metadata is no JSON", "segment data results", text("data/metadata.json", "{")),
    BadInput("metadata is a list", "segment data results", text("data/metadata.json", "[]")),
    BadInput("metadata is deep", "segment data results", text("data/metadata.json", "[" * 30000)),
    BadInput("metadata is cut off, ingest", f"ingest slices data {INGEST}", cut("data/metadata.json")),
    BadInput("no spacing", "segment data results", metadata(particle_size=0.1)),
    BadInput("spacing 0", "segment data results", metadata(spacing=0, particle_size=0.1)),
    BadInput("spacing of text", "segment data results", metadata(spacing="wide", particle_size=0.1)),
    BadInput("spacing of another scan", "segment data results", metadata(spacing=0.02, particle_size=0.1)),
    BadInput("tiny particles", "segment data results --direct", metadata(spacing=0.01, particle_size=1e-300)),
    BadInput("particles mistyped", "segment data results --direct", metadata(spacing=0.01, particle_size=0.0001)),
    BadInput("grey values far from the z-score", "segment data results --direct --zscore 0 1e-38"),
    BadInput("a chunk is damaged, segment", "segment data results --direct", a_chunk("bad", "data/images/ore.zarr")),
    BadInput("huge particles", "segment data results --direct", metadata(spacing=0.01, particle_size=99999)),
    BadInput(
        "a chunk is missing, export",
        "export data/images/ore.zarr out --format tiff",
        a_chunk("gone", "data/images/ore.zarr"),
    ),
    BadInput(
        "a chunk is damaged, export",
        "export data/images/ore.zarr out --format tiff",
        a_chunk("bad", "data/images/ore.zarr"),
    ),
    BadInput(
        "a chunk is damaged, measure",
        "measure labels.zarr table",
        a_chunk("bad", "labels.zarr"),
    ),
    BadInput("a chunk is damaged, evaluate", "evaluate labels.zarr labels.zarr", a_chunk("bad", "labels.zarr")),
    BadInput("a chunk is damaged, zscore", "zscore data", a_chunk("bad", "data/images/ore.zarr")),
    BadInput(
        "a chunk is damaged, instances",
        "instances border-core.zarr out.zarr",
        a_chunk("bad", "border-core.zarr"),
    ),
    BadInput("a scan for border-core", "instances data/images/ore.zarr out.zarr"),
    BadInput("labels are no integers", "measure float.zarr table", float_labels),
    BadInput("zarr.json is cut off", "measure labels.zarr table", cut("labels.zarr/0/zarr.json")),
    BadInput(
        "zscore.json is cut off", "prepare-training data training", text("data/zscore.json", json.dumps({"mean": 1}))
    ),
    BadInput("a model is cut off", "segment data results --model model", lambda here: (here / "model").mkdir()),
    BadInput("an archive is none", "model import notes.txt bundle"),
    BadInput("a name that is too long", f"measure labels.zarr {'x' * 300}"),
    BadInput("a spacing beyond bounds", "export labels.zarr out.nii --format nifti --spacing 5000"),
    BadInput("memory that is none", f"ingest slices new {INGEST} --memory nan"),
    BadInput("memory that is too little", f"ingest slices new {INGEST} --memory -1"),
    BadInput(
        "a phantom beyond the disk", "phantom p --name a --shape 999999 999999 999999 --particle-size-voxels 9 --seed 0"
    ),
)
