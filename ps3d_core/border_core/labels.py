"""From border-core labels to particles: the steps in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.border_core import plan as planning
from ps3d_core.border_core.coreless import MergeCoreless
from ps3d_core.border_core.cores import LabelCores, NumberCores
from ps3d_core.border_core.plan import Certainties, InstancesPlan, plan_instances
from ps3d_core.border_core.prune import NumberParticles, WriteLabels
from ps3d_core.border_core.rounds import GrowCores
from ps3d_core.border_core.split import SplitCores
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.geometry.boxes import Shape
from ps3d_core.params import InstancesParams
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.location import Location


class InstanceSummary(BaseModel):
    """Counts of particles, cores and rounds on the way from border-core labels to particles."""

    model_config = ConfigDict(frozen=True)

    particles: int = Field(description="ids in the output, 1..particles")
    voxels: int = Field(description="of all particles together")
    cores: int = Field(description="cores that became particles, before pruning")
    small_cores: int = Field(description="those that became border")
    split: int = Field(default=0, description="components of class 1 that were split into several cores at necks")
    coreless: int = Field(description="foreground components without a core, each a particle before pruning")
    dropped: int = Field(description="particles that were too small")
    unsure: int = Field(default=0, description="particles that were dropped as too uncertain")
    unsure_voxels: int = Field(default=0, description="of those")
    long: int = Field(default=0, description="particles that were dropped as too long")
    rounds: int = Field(description="of growth")


def border_core_to_instances(
    border_core: Location,
    output: Location,
    work: Location,
    *,
    context: Context,
    certainty: Certainties | None = None,
    params: InstancesParams | None = None,
    block_shape: Shape | None = None,
    input_fingerprint: str | None = None,
) -> InstanceSummary:
    """Turn border-core labels into particle ids, exactly, in blocks.

    Finished work is not repeated: a call that was killed is continued by the next one, and a call after the last
    one only reads its summary. Neither blocks, workers nor interruptions show in the result.

    Args:
        border_core: Zarr array or OME-Zarr image (z, y, x) of 0 background, 1 core, 2 border.
        output: array of ids, uint32, 0 background and 1..N in C order of the cores; made unless it is there. An array
            that no earlier run made is refused.
        work: folder for intermediates and ledger; may be removed afterwards.
        context: where blocks are worked on, the memory of all workers together, and who hears of it.
        certainty: how probable the classes are, if that is known; what it comes to is written there.
        params: what is too small for a core and for a particle, too uncertain or long; the usual when absent.
        block_shape: voxels per block; the largest that fits the budget when absent.
        input_fingerprint: identity of the input; sizes and dates of its objects when absent.

    Raises:
        InputError: for input, output, parameters or a budget that cannot be used.

    """
    plan = plan_instances(
        border_core,
        output,
        work,
        context=context,
        certainty=certainty,
        params=params,
        block_shape=block_shape,
        input_fingerprint=input_fingerprint,
    )
    return run_instances(plan, runner=context.runner, progress=context.progress)


def run_instances(plan: InstancesPlan, *, runner: Runner | None = None, progress: Progress = SILENT) -> InstanceSummary:
    """Make the particles that were planned, unless it is done; return the summary.

    When it is done, the output is what was written, and the summary is read.
    """
    particles = Particles(plan)
    done = Engine(plan.work, [particles]).run_all(Context(runner or Runner(), plan.memory_bytes, progress))
    return done.of(Particles)


@dataclass(frozen=True)
class Particles(Step[InstanceSummary]):
    """Step that is the way from border-core labels to particles as a whole, for something larger."""

    plan: InstancesPlan

    name, title, found = "instances-summary", "instances", InstanceSummary

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the way from border-core labels to particles."""
        return (planning.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the border-core labels, what is dropped, and where the output is; no block or halo."""
        plan = self.plan
        return (
            plan.input_fingerprint,
            plan.shape,
            plan.params.min_rel_particle_size,
            plan.output.seen_from(plan.work),
            *plan.core_rule,
            *plan.particle_rule,
            *(("necks", *plan.neck_rule) if plan.neck_rule else ()),
        )

    @property
    def outputs(self) -> dict[str, Location]:
        """Array of the particle ids, and what is known of each."""
        known = self.plan.certainty
        return {"instances": self.plan.output} | ({} if known is None else {"certainties": known.particles})

    def make(self, done: Outcomes, context: Context) -> InstanceSummary:
        """Do the steps of `steps_of` in order and return the summary."""
        found = Engine(self.plan.work, steps_of(self.plan)).run_all(context)
        cores, numbered = found.of(NumberCores), found.of(NumberParticles)
        split = found.of(SplitCores) if self.plan.neck_rule else None
        return InstanceSummary(
            particles=numbered.particles,
            voxels=numbered.voxels,
            cores=split.cores if split else cores.cores,
            split=split.split if split else 0,
            small_cores=cores.small,
            coreless=found.of(MergeCoreless).coreless,
            dropped=numbered.dropped,
            unsure=numbered.unsure,
            unsure_voxels=numbered.unsure_voxels,
            long=numbered.long,
            rounds=found.of(GrowCores).rounds,
        )


def steps_of(plan: InstancesPlan) -> tuple[Step[Any], ...]:
    """Return the steps from border-core labels to particles, each built on those before it."""
    cores = LabelCores(plan)
    numbers = NumberCores(plan, cores)
    split = SplitCores(plan, cores, numbers) if plan.neck_rule else None
    growth = GrowCores(plan, cores, numbers, split)
    coreless = MergeCoreless(plan, growth)
    ids = NumberParticles(plan, numbers, growth, coreless)
    rest = (growth, coreless, ids, WriteLabels(plan, growth, coreless, ids))
    return (cores, numbers, split, *rest) if split else (cores, numbers, *rest)
