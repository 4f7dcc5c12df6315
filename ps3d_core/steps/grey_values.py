"""Step: offset and scale of the scan's grey values, by which the network's input is normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.inference import sample
from ps3d_core.inference.sample import NetworkView, scan_intensity
from ps3d_core.network.intensity import Intensity
from ps3d_core.plan import SegmentPlan
from ps3d_core.store.ome import open_image


class GreyScale(BaseModel):
    """Offset and scale in grey values of the scan, and limits of the normalised ones."""

    model_config = ConfigDict(frozen=True)

    offset: float
    scale: float
    low: float | None = None
    high: float | None = None

    @property
    def intensity(self) -> Intensity:
        """Normalisation with these numbers."""
        return Intensity(self.offset, self.scale, self.low, self.high)


@dataclass(frozen=True)
class GreyValues(Step[GreyScale]):
    """Step that finds offset and scale: given by the user, the bundle's own, or measured on blocks of the scan."""

    plan: SegmentPlan

    name, title, found, intermediate = "intensity", "grey values", GreyScale, True

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of sampling."""
        return (sample.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Identity of the scan, its network grid, the network, numbers that were given, and dark particles."""
        plan = self.plan
        turned = ("dark",) if plan.info.is_dark else ()
        return (
            plan.input_identity,
            plan.scale.network_shape,
            plan.bundle.info.digest,
            plan.job.params.predict.zscore,
            *turned,
        )

    def make(self, done: Outcomes, context: Context) -> GreyScale:
        """Return offset and scale, and limits of normalised values.

        A sample of the scan is read, unless the numbers are given.
        """
        plan = self.plan
        if (given := plan.job.params.predict.zscore) is not None:
            return GreyScale(offset=given[0], scale=-given[1] if plan.info.is_dark else given[1])
        with context.progress.stage("grey values", 1, "scans") as stage:
            view = NetworkView(open_image(plan.image), plan.scale.network_shape)
            intensity = scan_intensity(view, plan.bundle.info.normalisation, dark=plan.info.is_dark)
            stage.advance()
        return GreyScale(**intensity._asdict())
