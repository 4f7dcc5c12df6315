"""What the steps from border-core labels to particles have in common: one plan, its folder and its blocks.

All of them are raised by one version, that of the first step, which counts for those after it. What one leaves for the
next lies in the plan's folder, under names that hold its fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass

from ps3d_core.border_core.plan import InstancesPlan
from ps3d_core.engine.block_step import BlockStep
from ps3d_core.engine.step import Context, DerivedStep, Found_co
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.memory_model import INSTANCES_BYTES
from ps3d_core.store.location import Location


@dataclass(frozen=True)
class Part(DerivedStep[Found_co]):
    """Base of the steps of a plan."""

    plan: InstancesPlan


@dataclass(frozen=True)
class TablePart(Part[Found_co]):
    """Base of the steps that merge what blocks found into one table, in memory."""

    @property
    def table(self) -> Location:
        """File of the table, an .npz."""
        return self.plan.folder / f"{self.name}-{self.fingerprint[:16]}.npz"

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the table."""
        return {self.name: self.table}


@dataclass(frozen=True)
class BlockPart(Part[Found_co], BlockStep[Found_co]):
    """Base of the steps that go over the plan's blocks and leave what they write to later steps."""

    kept = False
    bytes_per_voxel = INSTANCES_BYTES

    @property
    def folder(self) -> Location:
        """Folder of all steps from border-core labels to particles."""
        return self.plan.folder

    @property
    def volume(self) -> Location:
        """Array or image of the border-core labels."""
        return self.plan.border_core

    def grid(self, context: Context) -> BlockGrid:
        """Return the plan's blocks: what they number is read by all later steps."""
        return self.plan.blocks()
