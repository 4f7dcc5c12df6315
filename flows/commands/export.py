"""`ps3d export`: an image or labels out of the store, for other programs."""

from __future__ import annotations

import argparse

from flows.arguments import length_mm

PURPOSE = "write an image or labels as TIFF, NIfTI or Zarr"
EXAMPLES = """\
  ps3d export results/ore/ore.zarr ore-labels --format tiff            a folder of slices
  ps3d export results/ore/ore.zarr ore-labels.tif --format tiff        one file
  ps3d export data/images/ore.zarr ore.nii.gz --format nifti --spacing 0.0125"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="OME-Zarr image, Zarr array, TIFF or NIfTI")
    parser.add_argument(
        "dest", metavar="DEST", help="to make: a .tif file or a folder of slices, a .nii or .nii.gz file, a Zarr folder"
    )
    parser.add_argument("--format", required=True, choices=("tiff", "nifti", "zarr"), help="what to write")
    parser.add_argument(
        "--spacing", type=length_mm, metavar="MM", help="edge of a voxel, mm (default: what the source says)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at DEST")


def run(args: argparse.Namespace) -> None:
    """Export one image."""
    from flows.terminal import shown
    from ps3d_core.scan.export import export

    with shown() as progress:
        summary = export(
            args.source,
            args.dest,
            format=args.format,
            spacing=args.spacing,
            overwrite=args.overwrite,
            progress=progress,
        )
    shape = " x ".join(map(str, summary.shape))
    print(f"{summary.format}: {shape} voxels, {summary.dtype}, at {summary.destination}")
