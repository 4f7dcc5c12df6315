"""Step: the label image of the scan, with coarser levels for viewing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ps3d_core.border_core import to_scan_grid
from ps3d_core.border_core.to_scan_grid import Resampled, ResamplePlan
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps import pyramid
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.pyramid import build_pyramid
from ps3d_core.store import ome
from ps3d_core.store.arrays import ensure_array
from ps3d_core.store.content import keep_changed, note_content
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK, zarr_attributes
from ps3d_core.store.publishing import withdraw_products


@dataclass(frozen=True)
class LabelImage(Step[Resampled]):
    """Step that brings the particles back to the scan grid, ids 1..N, uint32."""

    plan: SegmentPlan
    instances: Instances

    name, title, found = "labels", "labels", Resampled

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of resampling and of coarser levels."""
        return (to_scan_grid.VERSION, pyramid.VERSION)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Shape of the scan's grid, and the size of its voxels."""
        return (self.plan.scale.scan_shape, self.plan.spacing)

    @property
    def outputs(self) -> dict[str, Location]:
        """Label image on the scan grid, by its name in run.json."""
        return {"labels": self.plan.job.result.labels}

    def make(self, done: Outcomes, context: Context) -> Resampled:
        """Let the voxels of the network grid vote on those of the scan; then halve level by level."""
        plan, labels = self.plan, self.plan.job.result.labels
        runner, progress = context.runner, context.progress
        keep_changed(labels, progress.note)
        self._ensure_image()
        resampled = to_scan_grid.resample_labels(self._resampling(done, context), runner=runner, progress=progress)
        build_pyramid(labels, plan.work, self.fingerprint, context=context)
        note_content(labels)
        return resampled

    def ids(self, done: Outcomes, context: Context) -> npt.NDArray[np.uint32]:
        """Return the id of a particle in the label image by its id on the network grid, 0 for those that vanished."""
        if done.of(LabelImage).vanished == 0:
            return np.arange(done.of(Instances).particles + 1, dtype=np.uint32)
        return to_scan_grid.ids_on_target(self._resampling(done, context), context.progress)

    def _resampling(self, done: Outcomes, context: Context) -> ResamplePlan:
        return to_scan_grid.plan_resampling(
            self.instances.labels,
            self.plan.job.result.labels / "0",
            self.plan.work,
            self.plan.scale.scan_shape,
            particles=done.of(Instances).particles,
            context=context,
            source_fingerprint=self.instances.fingerprint,
        )

    def _ensure_image(self) -> None:
        """Have a label image for this fingerprint, with one level; what another run left there goes."""
        plan, labels = self.plan, self.plan.job.result.labels
        attributes = {MARK: {"fingerprint": self.fingerprint}}
        about: dict[str, Any] = {
            "spacing": plan.spacing,
            "name": plan.job.scan,
            "label": True,
            "attributes": attributes,
        }
        made_for = zarr_attributes(labels).get(MARK)
        if ome.is_whole(labels) and isinstance(made_for, dict) and made_for.get("fingerprint") == self.fingerprint:
            ensure_array(labels / "0", plan.scale.scan_shape, "uint32")
        else:
            withdraw_products(labels)
            ome.create_image(labels, plan.scale.scan_shape, "uint32", overwrite=True, **about)
        # Also anew, because coarser levels are made from what it says.
        ome.write_metadata(labels, [plan.scale.scan_shape], origin=ome.image_origin(plan.image), **about)
