"""Step: particles on the network grid, from border-core labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ps3d_core.border_core import labels as instances
from ps3d_core.border_core import plan as instances_plan
from ps3d_core.border_core.labels import InstanceSummary
from ps3d_core.border_core.output import ensure_output
from ps3d_core.border_core.plan import Certainties
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.params import InstancesParams
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.store.location import Location

_OF_MODELS: Final = ("smallest_core", "least_certainty", "greatest_length", "greatest_neck")


@dataclass(frozen=True)
class Instances(Step[InstanceSummary]):
    """Step that gives every particle an id, uint32: every core grown through the border around it."""

    plan: SegmentPlan
    border_core: BorderCore

    name, title, found, intermediate = "instances", "instances", InstanceSummary, True

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the way from border-core labels to particles."""
        return (instances_plan.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Parameters that say what is too small for a particle, too uncertain or too long."""
        return (self._params.model_dump(exclude_none=True),)

    @property
    def labels(self) -> Location:
        """Array of the particle ids, uint32 on the network grid."""
        return self.plan.work / f"network-labels-{self.fingerprint[:12]}.zarr"

    @property
    def certainties(self) -> Location:
        """File with the voxels of each particle on the network grid, and how certain they are: see `Certainties`."""
        return self.plan.work / f"network-certainties-{self.fingerprint[:12]}.npz"

    @property
    def outputs(self) -> dict[str, Location]:
        """Array of the particle ids, and what is known of each particle, by their names in run.json."""
        return {"instances": self.labels, "certainties": self.certainties}

    @property
    def _params(self) -> InstancesParams:
        """What the user says; the model speaks where the user does not."""
        said, model = self.plan.job.params.instances, self.plan.bundle.info
        left = (name for name in _OF_MODELS if getattr(said, name) is None)
        return said.model_copy(update={name: getattr(model, name) for name in left})

    def make(self, done: Outcomes, context: Context) -> InstanceSummary:
        """Label cores, join them across blocks, grow them, number what is left."""
        plan = self.plan
        ensure_output(self.labels, plan.scale.network_shape)
        return instances.border_core_to_instances(
            self.border_core.labels,
            self.labels,
            plan.work,
            certainty=Certainties(self.border_core.certainty, self.certainties),
            params=self._params,
            context=context,
            input_fingerprint=self.border_core.fingerprint,
        )
