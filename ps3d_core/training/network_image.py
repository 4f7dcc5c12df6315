"""Step: the grey values of an annotated scan on the network grid.

scan  ->  blocks: resample, normalise  ->  working array  ->  imagesTr/CASE_0000.nii.gz
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import Site
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block
from ps3d_core.inference.sample import NetworkView, scan_intensity
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import Normalisation
from ps3d_core.store.arrays import open_array, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.training.case_part import CaseBlocks, CasePart

VERSION: Final = 1
"""Raise when a change of the code changes the file: finished work of older code is then redone."""


class NormalisedImage(BaseModel):
    """Normalisation that the grey values of a case went through."""

    model_config = ConfigDict(frozen=True)

    intensity: Intensity = Field(description="offset and scale in grey values, and limits of the normalised ones")


@dataclass(frozen=True)
class NetworkImage(CasePart[NormalisedImage]):
    """Step that brings the image of a case to the network grid, normalises it and writes it, float32."""

    normalisation: Normalisation

    name, title, found = "image", "image", NormalisedImage

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the image."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the scan, its network grid, the normalisation, and the spacing that the header says."""
        rule = (self.normalisation.model_dump(), self.params.nominal_spacing)
        return (self.case.image_identity, self.case.network_shape, rule, *(("dark",) if self._is_dark else ()))

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the grey values."""
        return {"image": self.files.image(self.case.name)}

    @property
    def _is_dark(self) -> bool:
        return self.case.scan.info.is_dark

    def make(self, done: Outcomes, context: Context) -> NormalisedImage:
        """Make the voxels block by block and write them; return the normalisation.

        Raise `InputError` for grey values that are not numbers.
        """
        source = self.readable(self.case.scan.image, context)
        view = NetworkView(open_image(source), self.case.network_shape)
        intensity = scan_intensity(view, self.normalisation, dark=self._is_dark)
        blocks = ImageBlocks(self, source, f"{self.title} {self.case.name}", intensity)
        found = blocks.make(done, context)
        self.write(blocks.volume, self.outputs["image"], context)
        return found


@dataclass(frozen=True)
class ImageBlocks(CaseBlocks[NormalisedImage]):
    """Step of the voxels of the image, float32, in a working array."""

    intensity: Intensity

    name, found = "image-blocks", NormalisedImage

    @property
    def volume(self) -> Location:
        """Working array of the normalised grey values."""
        return self.array("image")

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the working array, unless it is there."""
        self.ensure(self.volume, np.float32, ledger)

    def work(self, block: Block, site: Site) -> Record:
        """Resample and normalise one block."""
        view = NetworkView(open_image(self.source), self.part.case.network_shape)
        values = view.read(block.core)
        self.intensity.normalise_in_place(values)
        if not np.isfinite(values).all():
            raise InputError(
                f"scan {self.part.case.name!r}, network voxels {block.core.start} to {block.core.stop}: grey values "
                "that are infinite, not a number, or too large; replace them, for example with the value of air"
            )
        write_box(open_array(self.volume, writable=True), block.core, values)
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> NormalisedImage:
        """Return the normalisation."""
        return NormalisedImage(intensity=self.intensity)
