"""Step: border-core labels on the network grid, by the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.geometry.boxes import Shape
from ps3d_core.inference import empty, predict
from ps3d_core.inference.predict import Predicted, Prediction
from ps3d_core.plan import SegmentPlan
from ps3d_core.quality import PLAIN, REFERENCE, Quality
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.store.location import Location


@dataclass(frozen=True)
class BorderCore(Step[Predicted]):
    """Step that gives three classes per voxel, uint8: 0 background, 1 core, 2 border, and how certain each is."""

    plan: SegmentPlan
    grey_values: GreyValues

    name, title, found, intermediate = "predict", "predict", Predicted, True

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of prediction."""
        return (predict.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Folds of the network, how thoroughly it is applied, what computes it, and the region where there is one."""
        prediction = self.plan.prediction
        known = identity(prediction.quality, prediction.patches.patch)
        folds = self.plan.job.params.predict.folds or self.plan.bundle.folds
        known = known | {"empty": empty.facts()} if self.plan.skips_empty else known
        region = ({"region": self.plan.region.facts},) if self.plan.region else ()
        return (folds, known, *self.plan.computation.identity, *region)

    @property
    def labels(self) -> Location:
        """Array of the border-core labels, uint8 on the network grid."""
        return self.plan.work / f"border-core-{self.fingerprint[:12]}.zarr"

    @property
    def certainty(self) -> Location:
        """Array of how probable the class of each voxel is, uint8 on the network grid, 255 for certain."""
        return self.plan.work / f"certainty-{self.fingerprint[:12]}.zarr"

    @property
    def is_begun(self) -> bool:
        """Whether there is some of the labels."""
        return self.labels.exists()

    @property
    def outputs(self) -> dict[str, Location]:
        """Arrays of the border-core labels and of their certainty, by their names in run.json."""
        return {"border_core": self.labels, "certainty": self.certainty}

    def make(self, done: Outcomes, context: Context) -> Predicted:
        """Evaluate the network on every patch, in blocks that resume inside."""
        plan = self.plan
        params, resources = plan.job.params.predict, plan.job.resources
        prediction = Prediction(
            image=plan.image,
            output=self.labels,
            certainty=self.certainty,
            work=plan.work,
            model=plan.job.model,
            model_digest=plan.bundle.info.digest,
            plan=plan.prediction,
            intensity=done.of(GreyValues).intensity,
            fingerprint=self.fingerprint,
            folds=params.folds,
            computation=plan.computation,
            skip_empty=plan.skips_empty,
            region=plan.on_network_grid,
            batch_size=params.batch_size,
            threads=resources.workers if resources.runner == "threads" else None,
            runner=context.runner.model_copy(update={"workers": plan.prediction.workers}),
        )
        return predict.predict(prediction, progress=context.progress)


def identity(quality: Quality, patch: Shape) -> Any:
    """Return what results are known by: all numbers, or whether patches are mirrored where these are the reference's.

    Earlier releases had no other numbers, and their results stay valid.
    """
    mirrored = {REFERENCE: True, replace(REFERENCE, mirrorings=PLAIN): False}
    return mirrored.get(quality, quality.facts | {"patch": patch})
