"""The scan of `ps3d demo`, in three steps: a phantom with its truth, the phantom as slices, the slices ingested.

What lies in a step's place when it is to be made is of another release, or was changed by hand: it is set aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.params import ExportParams, IngestParams
from ps3d_core.phantom import write
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.scan.export import ExportSummary, export
from ps3d_core.scan.ingest import ingest
from ps3d_core.store.aside import set_aside
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location

SLICES_VERSION: Final = 1
INGEST_VERSION: Final = 1
"""Raise one when its step would write something else; the phantom has a version of its own."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Places and parameters of the demo's scan.

    Attributes:
        scan: name of the scan.
        params: of the phantom.
        spacing: mm per voxel.
        truth: dataset of the phantom and its truth.
        slices: folder of the phantom as TIFF slices.
        data: dataset that the slices are ingested into.

    """

    scan: str
    params: PhantomParams
    spacing: float
    truth: Dataset
    slices: Location
    data: Dataset


class Drawn(BaseModel):
    """Number of particles in a phantom."""

    model_config = ConfigDict(frozen=True)

    particles: int


class Ingested(BaseModel):
    """Digest of the voxels of an ingested scan."""

    model_config = ConfigDict(frozen=True)

    sha256: str


@dataclass(frozen=True)
class DrawPhantom(Step[Drawn]):
    """Step that writes a phantom with its truth."""

    scene: Scene

    name, title, found = "phantom", "phantom", Drawn

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of phantoms."""
        return (write.VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Parameters and spacing (mm) of the phantom."""
        return (self.scene.params.model_dump(mode="json"), self.scene.spacing)

    @property
    def outputs(self) -> dict[str, Location]:
        """Images of grey values and of the truth."""
        truth, scan = self.scene.truth, self.scene.scan
        return {"image": truth.image(scan), "truth": truth.truth(scan)}

    def make(self, done: Outcomes, context: Context) -> Drawn:
        """Draw the phantom; one that was interrupted goes on."""
        scene = self.scene
        root, spacing, progress = scene.truth.root, scene.spacing, context.progress
        if not (root / f".phantom-{scene.scan}").children():
            _make_way(self)
        return Drawn(particles=write.write_phantom(scene.params, root, scene.scan, spacing=spacing, progress=progress))


@dataclass(frozen=True)
class ExportSlices(Step[ExportSummary]):
    """Step that writes the phantom as TIFF slices."""

    scene: Scene
    phantom: DrawPhantom

    name, title, found = "slices", "slices", ExportSummary

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the slices."""
        return (SLICES_VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """No parameters of its own: the phantom decides the slices."""
        return ()

    @property
    def outputs(self) -> dict[str, Location]:
        """Folder of the slices."""
        return {"slices": self.scene.slices}

    def make(self, done: Outcomes, context: Context) -> ExportSummary:
        """Write all slices."""
        _make_way(self)
        image = self.scene.truth.image(self.scene.scan)
        return export(image, self.scene.slices, ExportParams(format="tiff"), progress=context.progress)


@dataclass(frozen=True)
class IngestSlices(Step[Ingested]):
    """Step that ingests the slices into a dataset."""

    scene: Scene
    slices: ExportSlices

    name, title, found = "ingest", "ingest", Ingested

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the ingested scan."""
        return (INGEST_VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """No parameters of its own: the phantom decides size and spacing."""
        return ()

    @property
    def outputs(self) -> dict[str, Location]:
        """Image of the scan."""
        return {"image": self.scene.data.image(self.scene.scan)}

    def make(self, done: Outcomes, context: Context) -> Ingested:
        """Ingest the slices with the phantom's spacing and particle size."""
        _make_way(self)
        scene = self.scene
        size = scene.params.particle_size_voxels * scene.spacing
        sample = {"id": "demo", "material": "synthetic grains in epoxy", "operator": "ps3d demo"}
        params = IngestParams(spacing=scene.spacing, particle_size=size, sample=sample)
        summary = ingest(str(scene.slices), scene.data, scene.scan, params, progress=context.progress)
        return Ingested(sha256=summary.sha256)


def steps_of(scene: Scene) -> tuple[Step[Any], ...]:
    """Return the steps of the demo's scan, each built on those before it."""
    phantom = DrawPhantom(scene)
    slices = ExportSlices(scene, phantom)
    return phantom, slices, IngestSlices(scene, slices)


def _make_way(step: Step[Any]) -> None:
    for place in step.outputs.values():
        set_aside(place)
