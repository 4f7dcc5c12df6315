"""What a look at a scan found, as it is kept with the dataset: inspections/NAME/MODEL.json, one file per model."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import StatedSpacing, mean_spacing, one_if_equal, relative_spacing
from ps3d_core.inspection.forecast import Forecast
from ps3d_core.inspection.quality import ScanQuality
from ps3d_core.inspection.size import SizeFound
from ps3d_core.network.bundle import Bundle
from ps3d_core.quality import LEVELS, LevelName
from ps3d_core.quantities import Polarity, StatedPolarity
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset, ScanInfo
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location

VERSION: Final = 1
"""Raise when a change of the code sees other things: earlier looks are then taken again."""

OFF: Final = 0.3
"""Difference of stated and found size, as a share of the larger, from which it is spoken of."""
FAINT: Final = 0.9
"""Contrast below which particles are fainter than what varies within them and around them."""

Advice = Literal["go on", "change this", "does not understand"]


class Inspection(BaseModel):
    """What a look at a scan found, by one model. Lengths are voxels of the scan unless their name says mm.

    Where voxels are no cubes, a length in voxels is in edges of the cube that has the volume of one.
    """

    model_config = ConfigDict(frozen=True)

    scan: str
    spacing: StatedSpacing = Field(description="edge of a voxel, mm; three (z, y, x) where they differ")
    patches: float = Field(description="volume of the scan at the size that was found, in patches of the network")
    seconds_per_patch: float = Field(description="of one forward pass here, all cores together")
    stated_mm: float | None = Field(description="particle size that was stated; None when it is to be found")
    stated_particles: StatedPolarity
    model: str
    model_digest: str
    seen_by: str = Field(description="what tells this model, this scan and this way of looking from others")
    particles: Polarity = Field(description="than their surroundings")
    size: SizeFound | None = Field(description="None when nothing like a particle was found at any size")
    surroundings: str | None = Field(description="walls and field of view, in words; None where none is clear")
    forecast: Forecast
    quality: ScanQuality
    seconds: float

    @property
    def mean_spacing(self) -> float:
        """Edge of the cube that has the volume of a voxel, mm: what lengths in voxels are multiplied with."""
        return mean_spacing(self.spacing)

    @property
    def size_mm(self) -> float | None:
        """Mean diameter of the particles that was found, mm."""
        return self.size.size * self.mean_spacing if self.size else None

    @property
    def model_key(self) -> str:
        """What files about this look are called: the beginning of the model's digest."""
        return self.model_digest[:12]

    @property
    def size_differs(self) -> bool:
        """Whether the size that was found for sure is another than the one that was stated."""
        if self.size_mm is None or self.stated_mm is None or not (self.size and self.size.sure):
            return False
        return abs(self.stated_mm - self.size_mm) > OFF * max(self.stated_mm, self.size_mm)

    @property
    def polarity_differs(self) -> bool:
        """Whether particles are bright where dark ones were stated, or the other way round."""
        return self.stated_particles not in ("auto", self.particles)

    def seconds_at(self, quality: LevelName) -> float:
        """Return about how long prediction takes here at a quality."""
        return self.patches * LEVELS[quality].passes * self.seconds_per_patch

    @property
    def problems(self) -> tuple[str, ...]:
        """What should be changed before the scan is segmented, or looked at, the worst first."""
        return (*self._not_understood(), *self._to_change())

    @property
    def advice(self) -> Advice:
        """What to do in a word."""
        if self._not_understood():
            return "does not understand"
        return "change this" if self._to_change() else "go on"

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return {
            "go on": "Go on: the model understands this scan.",
            "change this": "Change this first, or know what it does to the figures:",
            "does not understand": "The model does not understand this scan: its figures would mean nothing.",
        }[self.advice]

    def beside(self, info: ScanInfo) -> Inspection:
        """Return this inspection beside what is stated of the scan now."""
        stated = None if info.particle_size == "auto" else info.particle_size
        return self.model_copy(
            update={"spacing": info.spacing, "stated_mm": stated, "stated_particles": info.particles}
        )

    def _not_understood(self) -> tuple[str, ...]:
        found, contrast = self.forecast, self.quality.contrast
        reasons = list(found.strange)
        if self.size is None:
            reasons.append("nothing like particles was found at any size")
        if contrast is not None and contrast < FAINT:
            reasons.append(f"particles differ from what is around them by {contrast:.1f} standard deviations of noise")
        return tuple(reasons)

    def _to_change(self) -> tuple[str, ...]:
        reasons = []
        if self.polarity_differs:
            reasons.append(
                f"the particles are {self.particles}er than what is around them; state particles as {self.particles}"
            )
        if self.size is not None and self.size_mm is not None:
            low, high = (each * self.mean_spacing for each in (self.size.low, self.size.high))
            if not self.size.sure:
                reasons.append(f"the particle size cannot be told for sure: perhaps {self.size_mm:.3g} mm")
            elif self.size_differs:
                reasons.append(
                    f"the particles measure {self.size_mm:.3g} mm on average ({low:.3g} to {high:.3g}), not the "
                    f"{self.stated_mm:.3g} mm that were stated"
                )
        return (*reasons, *_faults(self.quality))


def look_identity(bundle: Bundle, image: Location, spacing: StatedSpacing) -> str:
    """Return what tells a look at this scan by this model from others; of `spacing` the shape of voxels matters."""
    cubic = isinstance(one_if_equal(spacing), float | int)
    shape_of_voxels = () if cubic else (relative_spacing(spacing),)
    calibration = bundle.info.calibration
    facts = calibration.model_dump() if calibration else None
    return fingerprint(VERSION, bundle.info.digest, facts, content_identity(image), *shape_of_voxels)


def saved_inspection(dataset: Dataset, scan: str, bundle: Bundle) -> Inspection | None:
    """Return what this model saw in this scan before; None when it did not look, or the scan has changed since."""
    try:
        known = Inspection.model_validate(_file(dataset, scan, bundle).read_json())
    except (InputError, ValidationError, OSError):
        return None
    info = dataset.read_metadata().get(scan)
    spacing = known.spacing if info is None else info.spacing
    return known if known.seen_by == look_identity(bundle, dataset.image(scan), spacing) else None


def save_inspection(dataset: Dataset, inspection: Inspection, bundle: Bundle) -> None:
    """Keep an inspection with its dataset."""
    _file(dataset, inspection.scan, bundle).write_json(inspection.model_dump(mode="json"))


def _file(dataset: Dataset, scan: str, bundle: Bundle) -> Location:
    return dataset.inspections(scan) / f"{bundle.info.digest[:12]}.json"


def _faults(quality: ScanQuality) -> tuple[str, ...]:
    """What a person should know of a scan, from its figures."""
    said = {
        f"slices repeat the one before: {_some(quality.repeated)}": bool(quality.repeated),
        f"slices may be missing before {_some(quality.jumps)}": bool(quality.jumps),
        f"{quality.saturated:.0%} of the voxels are at the least or the greatest grey value": quality.saturated > 0.2,
        f"grey values drift by {abs(quality.drift or 0):.0%} of the contrast from the first slice to the last": abs(
            quality.drift or 0
        )
        > 0.5,
        f"rings with a standard deviation of {quality.rings or 0:.0%} of the contrast": (quality.rings or 0) > 0.25,
        f"{quality.below:.0%} of the particles are smaller than {quality.smallest:.1f} voxels, too small to be "
        "trusted": quality.below > 0.25,
    }
    return tuple(text for text, holds in said.items() if holds)


def _some(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
