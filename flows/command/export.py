"""`ps3d export`: an image or labels out of the store, for other programs."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.arguments import spacing_mm
from ps3d_app.flows.command.fields import add_field, add_fields, add_slab_memory, given, memory_bytes

PURPOSE = "write a volume as TIFF, NIfTI, MetaImage, NRRD, HDF5 or Zarr"
EXAMPLES = """\
  ps3d export results/ore/ore.zarr ore-labels --format tiff            a folder of slices
  ps3d export results/ore/ore.zarr ore-labels.tif --format tiff        one file
  ps3d export data/images/ore.zarr ore.nii.gz --format nifti
  ps3d export data/images/ore.zarr ore.mha --format mha                or ore.nrrd --format nrrd
  ps3d export scan.nii.gz mended.nii.gz --format nifti --spacing 12.5um         another spacing, the same voxels
  ps3d export labels.nii.gz data/instance_seg/ore.zarr --format zarr --labels

Voxels keep their type and order and are never resampled. NIfTI is written with axes x, y, z and without rotation; when
it is read its axes stay as stored, rotations in its header are not applied, and the spacing is that of the header."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import ExportParams, SourceParams

    parser.add_argument("source", metavar="SOURCE", help="image or labels, any format that is read")
    parser.add_argument(
        "dest",
        metavar="DEST",
        help="to make: a folder of slices, a .tif, .nii, .nii.gz, .mha, .nrrd or .h5 file, a Zarr",
    )
    add_field(parser, ExportParams, "format")
    add_field(
        parser,
        ExportParams,
        "spacing",
        type=spacing_mm,
        nargs=None,
        help="edge of a voxel, mm, or with a unit: 12.5um; Z,Y,X where they differ, like 20,10,10um; what the source "
        "says when left out",
    )
    add_fields(parser, ExportParams, "labels", "overwrite")
    add_slab_memory(parser)
    add_fields(parser.add_argument_group("what is read"), SourceParams)


def run(args: argparse.Namespace) -> None:
    """Export one image."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.params import ExportParams
    from ps3d_core.scan.export import export

    with shown() as progress:
        summary = export(
            args.source,
            args.dest,
            given(ExportParams, args),
            memory_bytes=memory_bytes(args),
            progress=progress,
        )
    shape = shape_text(summary.shape)
    print(f"{summary.format}: {shape} voxels, {summary.dtype}, at {summary.destination}")
