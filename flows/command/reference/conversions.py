"""`ps3d_tiff2zarr` and its sisters: ParticleSeg3D's conversions, so that scripts written for them go on working.

Names, flags and places of the output are those of ParticleSeg3D 0.2.16. The work is that of `ps3d export`, so types
are kept, spacing goes into the headers, names with dots stay whole, memory is bounded, and a conversion that fails
leaves nothing. As there, an earlier conversion is replaced; something else that lies in its place is not.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from ps3d_app.flows.command.cli import run_alone

if TYPE_CHECKING:
    from ps3d_core.store.location import Location

Kind = Literal["tiff", "nifti", "zarr"]

_IN_WORDS: Final = {"tiff": "folder of TIFF slices", "nifti": ".nii.gz or .nii file", "zarr": "Zarr image"}
_SUFFIXES: Final = (".nii.gz", ".nii", ".zarr", ".tiff", ".tif", ".btf", ".tf2", ".tf8")
_SLICE_NAME: Final = "{index}.tiff"


@dataclass
class Conversion:
    """A command that converts one volume; see `Command`."""

    source: Kind
    target: Kind
    EXAMPLES: str
    names_file: bool = False
    """True when --output is the new file itself, not the folder it goes to."""
    asks_spacing: bool = False
    PURPOSE: str = field(init=False)

    def __post_init__(self) -> None:
        self.PURPOSE = f"convert a {_IN_WORDS[self.source]} to a {_IN_WORDS[self.target]}"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments, those of ParticleSeg3D."""
        place = "what to make" if self.names_file else "folder to make it in"
        parser.add_argument("-i", "--input", required=True, metavar="PATH", help=_IN_WORDS[self.source])
        parser.add_argument("-o", "--output", required=True, metavar="PATH", help=place)
        if self.asks_spacing:
            parser.add_argument(
                "-s",
                "--spacing",
                required=True,
                nargs=3,
                metavar=("X", "Y", "Z"),
                help="edges of a voxel, mm or with a unit like 12.5um",
            )
        if (self.source, self.target) == ("tiff", "zarr"):
            parser.add_argument("--fast", action="store_true", help="accepted, without effect: always fast")

    def run(self, args: argparse.Namespace) -> None:
        """Convert one volume and print where the new one lies.

        Raise `InputError` when something lies in its place that an earlier conversion did not make.
        """
        from ps3d_app.flows.command.terminal import shown
        from ps3d_core.geometry.boxes import shape_text
        from ps3d_core.geometry.lengths import edges_mm
        from ps3d_core.params import ExportParams
        from ps3d_core.scan.export import export
        from ps3d_core.scan.given import existing
        from ps3d_core.store.location import Location

        source, output = existing(args.input), Location.parse(args.output)
        target = output if self.names_file else output / self._named(_stem(source.name))
        _check_replaceable(target, self.target)
        x, y, z = edges_mm(args.spacing) if self.asks_spacing else (0.0, 0.0, 0.0)
        spacing = (z, y, x) if self.asks_spacing else None
        with shown() as progress:
            summary = export(
                source,
                target,
                ExportParams(format=self.target, spacing=spacing, overwrite=True),
                slice_name=_SLICE_NAME,
                progress=progress,
            )
        print(f"{summary.format}: {shape_text(summary.shape)} voxels, {summary.dtype}, at {target}")

    def _named(self, stem: str) -> str:
        return stem + {"tiff": "", "nifti": ".nii.gz", "zarr": ".zarr"}[self.target]


CONVERSIONS: Final = {
    "ps3d_tiff2zarr": Conversion(
        "tiff", "zarr", "  ps3d_tiff2zarr -i scans/ore -o images          makes images/ore.zarr"
    ),
    "ps3d_zarr2tiff": Conversion(
        "zarr", "tiff", "  ps3d_zarr2tiff -i images/ore.zarr -o slices    makes slices/ore/0.tiff, 1.tiff, ..."
    ),
    "ps3d_tiff2nifti": Conversion(
        "tiff",
        "nifti",
        "  ps3d_tiff2nifti -i scans/ore -o images -s 0.01 0.01 0.01     makes images/ore.nii.gz",
        asks_spacing=True,
    ),
    "ps3d_nifti2tiff": Conversion(
        "nifti", "tiff", "  ps3d_nifti2tiff -i images/ore.nii.gz -o slices     makes slices/ore/0.tiff, 1.tiff, ..."
    ),
    "ps3d_nifti2zarr": Conversion(
        "nifti", "zarr", "  ps3d_nifti2zarr -i ore.nii.gz -o images/ore.zarr     makes images/ore.zarr", names_file=True
    ),
}


def tiff2zarr() -> int:
    """Run `ps3d_tiff2zarr`, as its entry point; return the exit status."""
    return _run("ps3d_tiff2zarr")


def zarr2tiff() -> int:
    """Run `ps3d_zarr2tiff`, as its entry point; return the exit status."""
    return _run("ps3d_zarr2tiff")


def tiff2nifti() -> int:
    """Run `ps3d_tiff2nifti`, as its entry point; return the exit status."""
    return _run("ps3d_tiff2nifti")


def nifti2tiff() -> int:
    """Run `ps3d_nifti2tiff`, as its entry point; return the exit status."""
    return _run("ps3d_nifti2tiff")


def nifti2zarr() -> int:
    """Run `ps3d_nifti2zarr`, as its entry point; return the exit status."""
    return _run("ps3d_nifti2zarr")


def _run(name: str) -> int:
    return run_alone(name, CONVERSIONS[name])


def _stem(name: str) -> str:
    """`name` without the ending of its format; other dots are part of it."""
    return next((name[: -len(end)] for end in _SUFFIXES if name.lower().endswith(end) and name.lower() != end), name)


def _check_replaceable(target: Location, kind: Kind) -> None:
    """Raise `InputError` when something lies at `target` that an earlier conversion did not make."""
    from ps3d_core.errors import InputError
    from ps3d_core.scan.authorship import nifti_is_marked, zarr_is_exported

    is_ours = {"tiff": _are_our_slices, "zarr": zarr_is_exported, "nifti": nifti_is_marked}[kind]
    if target.exists() and not is_ours(target):
        raise InputError(
            f"{target}: holds something else than a {_IN_WORDS[kind]} that an earlier conversion made",
            "choose another <output>",
        )


def _are_our_slices(folder: Location) -> bool:
    """Whether `folder` holds slices as conversions name them and nothing else, by the mark of the first."""
    from ps3d_core.scan.authorship import tiff_is_marked

    names = set(folder.children()) if folder.is_dir() else set()
    ours = {_SLICE_NAME.format(index=index) for index in range(len(names))}
    return bool(names) and names == ours and tiff_is_marked(folder / _SLICE_NAME.format(index=0))
