"""Step: the labels of an annotated scan on the network grid; on request instances and their boxes.

    labels  ->  blocks with halo: vote, border-core, boxes  ->  working array  ->  labelsTr/CASE.nii.gz
                                                                working array  ->  labelsTr_instance/CASE.nii.gz
                                                                boxes          ->  boxesTr/CASE.json

A block votes on its halo again instead of waiting for its neighbours: 3 voxels around hundreds cost little. Votes give
ties to the higher label, which is what ParticleSeg3D does and its networks have learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core.vote import LabelVote
from ps3d_core.engine.block_step import Site
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block
from ps3d_core.particles.label_index import as_labels
from ps3d_core.store.arrays import open_array, read_box, write_box
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.training.case_part import CaseBlocks, CasePart
from ps3d_core.training.particle_boxes import ParticleBoxes, block_boxes, joined
from ps3d_core.training.targets import border_core

VERSION: Final = 1
"""Raise when a change of the code changes a file: finished work of older code is then redone."""


class AnnotatedParticles(BaseModel):
    """Number of particles in the labels of a case."""

    model_config = ConfigDict(frozen=True)

    particles: int = Field(description="on the network grid")


@dataclass(frozen=True)
class NetworkLabels(CasePart[AnnotatedParticles]):
    """Step that brings the labels of a case to the network grid and writes their classes, uint8.

    On request it writes the labels themselves, uint32, and the boxes of whole particles as well.
    """

    name, title, found = "labels", "labels", AnnotatedParticles

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of classes, instances and boxes."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the labels, their network grid, border, what is asked for, and the spacing in the headers."""
        rule = (self.params.border_thickness, self.params.instances, self.params.nominal_spacing)
        return (self.case.labels_identity, self.case.network_shape, rule)

    @property
    def outputs(self) -> dict[str, Location]:
        """Files of the classes and, on request, of instances and boxes."""
        classes = {"classes": self.files.classes(self.case.name)}
        return classes | self._on_request if self.params.instances else classes

    def make(self, done: Outcomes, context: Context) -> AnnotatedParticles:
        """Make the voxels block by block and write them; return how many particles there are.

        Raise `InputError` for labels that are negative or beyond 32 bits, and when no particle is left.
        """
        source = self.readable(self.case.scan.labels, context)
        blocks = LabelBlocks(self, source, f"{self.title} {self.case.name}")
        found = blocks.make(done, context)
        self.write(blocks.classes, self.outputs["classes"], context)
        if self.params.instances:
            self.write(blocks.instances, self.outputs["instances"], context)
        else:  # of an earlier run; other labels by now
            for file in self._on_request.values():
                file.remove_tree()
        return found

    @property
    def _on_request(self) -> dict[str, Location]:
        return {"instances": self.files.instances(self.case.name), "boxes": self.files.boxes(self.case.name)}


@dataclass(frozen=True)
class LabelBlocks(CaseBlocks[AnnotatedParticles]):
    """Step of the voxels of the labels: classes, and on request instances, in working arrays."""

    name, found = "label-blocks", AnnotatedParticles

    @property
    def volume(self) -> Location:
        """Working array of the classes."""
        return self.classes

    @property
    def classes(self) -> Location:
        """Working array of the classes, uint8."""
        return self.array("classes")

    @property
    def instances(self) -> Location:
        """Working array of the labels, uint32; only where they are asked for."""
        return self.array("instances")

    def prepare(self, site: Site, ledger: Ledger) -> None:
        """Make the working arrays, unless they are there."""
        self.ensure(self.classes, np.uint8, ledger)
        if self.part.params.instances:
            self.ensure(self.instances, np.uint32, ledger)

    def work(self, block: Block, site: Site) -> Record:
        """Vote on the labels of one block, and leave the boxes of its particles."""
        inner, params = block.core.relative_to(block.outer).slices, self.part.params
        labels = self._vote(block)
        core = np.ascontiguousarray(labels[inner])
        classes = border_core(labels, params.border_thickness)[inner]
        write_box(open_array(self.classes, writable=True), block.core, classes)
        if params.instances:
            write_box(open_array(self.instances, writable=True), block.core, core)
        site.file(block.index).write_arrays(**block_boxes(core, block.core.start)._asdict())
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> AnnotatedParticles:
        """Join the boxes of all blocks, write them if they are asked for, and return how many particles there are."""
        case, files = self.part.case, self.part.files
        boxes = joined(ParticleBoxes(**site.file(index).read_arrays()) for index in range(len(records)))
        if not len(boxes.ids):
            raise InputError(
                f"scan {case.name!r}: no particle in {case.scan.labels.place} that is left on the network grid "
                f"{case.network_shape}",
                "annotate the scan",
                "leave it out with <name>",
            )
        if self.part.params.instances:
            files.boxes(case.name).write_json(boxes.inside(case.network_shape).to_json())
        return AnnotatedParticles(particles=len(boxes.ids))

    def _vote(self, block: Block) -> npt.NDArray[np.uint32]:
        case = self.part.case
        vote = LabelVote(case.scan.scale.scan_shape, case.network_shape, ties="higher")
        box = vote.source_box(block.outer)
        stored: npt.NDArray[Any] = read_box(open_image(self.source), box)
        try:
            labels = as_labels(stored, "labels")
        except InputError as error:
            raise error.about(f"scan {case.name!r}, voxels {box.start} to {box.stop}") from error
        return vote(np.ascontiguousarray(labels), block.outer)
