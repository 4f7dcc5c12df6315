"""What the steps of a case have in common: image and labels, each made in blocks and finished as NIfTI files.

A NIfTI file is one stream and cannot be written in blocks, so blocks meet in working arrays, in any order and on any
number of workers, and are streamed from there, slab by slab.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ps3d_core.engine.block_step import BlockStep
from ps3d_core.engine.step import Context, DerivedStep, Found_co, Step
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.params import ExportParams, PreparationParams
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.export import export
from ps3d_core.store.arrays import ensure_array
from ps3d_core.store.ledger import Ledger, fingerprint
from ps3d_core.store.location import Location
from ps3d_core.training.checks import Volume
from ps3d_core.training.nnunet_dataset import TrainingFolder
from ps3d_core.training.preparation_plan import CasePlan


@dataclass(frozen=True)
class CasePart(Step[Found_co]):
    """Base of the steps that make the files of a case: one for the image, one for the labels.

    Attributes:
        files: places of the files of all cases.
        case: the scan, its grids and its blocks.
        params: what was asked for.

    """

    files: TrainingFolder
    case: CasePlan
    params: PreparationParams

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the files, in the order in which finished records, ps3d.json, have it."""
        return fingerprint(self.name, *self.versions, *self.parameters)

    @property
    def folder(self) -> Location:
        """Folder of working arrays and of the ledger of finished blocks; of no use once the step is done."""
        return self.files.work / self.case.name / self.name

    def readable(self, volume: Volume, context: Context) -> Location:
        """Return where boxes of the volume can be read: where it lies, or in a copy of what comes as a stream."""
        if volume.is_zarr:
            return volume.place
        return as_image(volume.place, self.folder, memory_bytes=context.memory_bytes, progress=context.progress)

    def write(self, array: Location, file: Location, context: Context) -> None:
        """Write a working array to a NIfTI file, whole or not at all."""
        export(
            array,
            file,
            ExportParams(format="nifti", spacing=self.params.nominal_spacing, overwrite=True),
            memory_bytes=context.memory_bytes,
            progress=context.progress,
            title=f"write {file.parent.name}/{file.name}",
        )


@dataclass(frozen=True)
class CaseBlocks(DerivedStep[Found_co], BlockStep[Found_co]):
    """Base of the steps within a part: its voxels, in blocks of the network grid.

    Attributes:
        part: what the voxels are made for.
        source: image or labels of the scan, of which any box can be read.

    """

    part: CasePart[Any]
    source: Location
    title: str

    kept = False

    @property
    def folder(self) -> Location:
        """Folder of the part."""
        return self.part.folder

    def grid(self, context: Context) -> BlockGrid:
        """Return the blocks that were planned for both parts of the case."""
        return self.part.case.blocks

    def array(self, name: str) -> Location:
        """Return the place of a working array of the part."""
        return self.folder / f"{name}-{self.fingerprint[:16]}.zarr"

    def ensure(self, array: Location, dtype: npt.DTypeLike, ledger: Ledger) -> None:
        """Make a working array on the network grid, unless it is there; clear the ledger when it is new."""
        if ensure_array(array, self.part.case.network_shape, dtype):
            ledger.clear()
