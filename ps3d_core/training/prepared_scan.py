"""One annotated scan as a case of nnU-Net: image and labels, two steps since they change for different reasons.

A border that is to be thicker redoes the labels of every scan and no image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine, records_of
from ps3d_core.engine.step import Context, Outcome, Outcomes
from ps3d_core.network.intensity import Intensity
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.digest import Digest
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import WORK_FILES, remove_own
from ps3d_core.training.case_part import CasePart
from ps3d_core.training.network_image import NetworkImage, NormalisedImage
from ps3d_core.training.network_labels import AnnotatedParticles, NetworkLabels
from ps3d_core.training.preparation_plan import CasePlan, PreparationPlan
from ps3d_core.training.preparation_record import CaseRecord


@dataclass(frozen=True, slots=True)
class CaseRun:
    """A planned case and the two steps it takes."""

    plan: PreparationPlan
    case: CasePlan

    @property
    def image(self) -> NetworkImage:
        """Step of the image."""
        plan = self.plan
        return NetworkImage(plan.folder, self.case, plan.job.params, plan.normalisation)

    @property
    def labels(self) -> NetworkLabels:
        """Step of the labels."""
        return NetworkLabels(self.plan.folder, self.case, self.plan.job.params)

    @property
    def steps(self) -> tuple[CasePart[Any], ...]:
        """Both steps, in order."""
        return self.image, self.labels

    @property
    def engine(self) -> Engine:
        """Engine that does the steps, and knows which are done."""
        return Engine(self.plan.folder.work / self.case.name, self.steps)

    @property
    def outputs(self) -> tuple[Location, ...]:
        """Files that the finished case has."""
        return tuple(file for step in self.steps for file in step.outputs.values())

    def record(self, intensity: Intensity, particles: int, files: Mapping[str, Digest]) -> CaseRecord:
        """Return what ps3d.json says of the finished case.

        Args:
            intensity: what its grey values were normalised with.
            particles: number of them on the network grid.
            files: digests of its files, by their path in the folder.

        """
        scan = self.case.scan
        return CaseRecord(
            scan=scan.name,
            image=str(scan.image.place),
            labels=str(scan.labels.place),
            spacing=scan.info.spacing,
            particle_size=scan.info.particle_size_mm,
            scan_shape=scan.scale.scan_shape,
            network_shape=self.case.network_shape,
            zoom=scan.scale.zoom,
            intensity=intensity,
            particles=particles,
            image_fingerprint=self.image.fingerprint,
            labels_fingerprint=self.labels.fingerprint,
            files=dict(files),
        )

    def remember(self, earlier: CaseRecord) -> None:
        """Enter what the record of a finished case says of steps that are still the same."""
        known = Outcomes()
        if earlier.image_fingerprint == self.image.fingerprint:
            known[self.image.name] = Outcome(NormalisedImage(intensity=earlier.intensity), 0)
        if earlier.labels_fingerprint == self.labels.fingerprint:
            known[self.labels.name] = Outcome(AnnotatedParticles(particles=earlier.particles), 0)
        whole = {self.plan.folder.root / name: digest for name, digest in earlier.files.items()}
        self.engine.remember(records_of(known), whole)


def prepare_scan(plan: PreparationPlan, case: CasePlan, progress: Progress = SILENT) -> CaseRecord:
    """Make the files of one scan, as far as they are not there; return what ps3d.json will say of it.

    An interrupted call goes on where it was. Raise `InputError` for voxels that cannot be used: labels that are
    negative or beyond 32 bits, labels without a particle, grey values that are not numbers.
    """
    run, resources, done = CaseRun(plan, case), plan.job.resources, Outcomes()
    context = Context(Runner.of(resources), resources.memory_bytes, progress)
    for step in run.steps:
        done[step.name] = run.engine.run(step, done, context)
        remove_own(step.folder, WORK_FILES)  # as large as the scan; the next step needs as much again
    files = {Location(url).seen_from(plan.folder.root): digest for url, digest in run.engine.written().items()}
    return run.record(done.of(NetworkImage).intensity, done.of(NetworkLabels).particles, files)
