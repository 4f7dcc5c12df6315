"""Steps of phases: what particles are made of, where a job says which phases there are, or asks to find them."""

from __future__ import annotations

from ps3d_core.composition.find import FindPhases
from ps3d_core.measuring.composed import CompositionFile
from ps3d_core.phases import GREY
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.steps.table import ParticleTable
from ps3d_core.store.ledger import fingerprint


def phases_step(plan: SegmentPlan, label_image: LabelImage) -> FindPhases | None:
    """Return the step that finds phases in the interiors of particles; None where the job does not ask for it."""
    params, result = plan.job.params.measure, plan.job.result
    if params.find_phases is None:
        return None
    name, image, identity = params.find_in or GREY, plan.image, label_image.fingerprint
    if name != GREY:
        image, content = {known: (place, content) for known, place, content in plan.images}[name]
        identity = fingerprint(identity, content)
    return FindPhases(
        labels=result.labels,
        image=image,
        identity=identity,
        number=params.find_phases,
        place=plan.work,
        file=result.root / "phases.json",
        blur_voxels=params.blur_voxels,
        seen_in=name,
    )


def composition_step(plan: SegmentPlan, table: ParticleTable) -> CompositionFile | None:
    """Return the step that writes composition and liberation of all particles; None where there are no phases."""
    params, result = plan.job.params.measure, plan.job.result
    if not params.given:
        return None
    return CompositionFile(
        table=table,
        parquet=result.table_parquet,
        file=result.root / "composition.csv",
        place=plan.work,
        sizes=params.sizes,
    )
