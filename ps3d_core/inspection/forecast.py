"""How accurate a segmentation will be, from what a look at a few blocks found.

A network is sure of things that are no particles, too: it cuts fibres and letters into pieces, and takes the cells of a
foam for dark particles. Pieces of strands share much of their cross-sections with their neighbours though there is
plenty of room around them, and cells fill most of the volume without a single contact; neither do particles.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.inspection.sighting import Sighting
from ps3d_core.inspection.size import trusted
from ps3d_core.network.bundle import BundleInfo

LEAST_TRUST: Final = 0.75
"""Share of the volume of what looks like particles that is expected right, below which nothing is understood: noise of
any grain size has 0.53 to 0.73, held-out phantoms have 0.95 and more."""
STRANDS: Final = (0.3, 0.25)
"""Contact above which particles that fill less than this share are pieces of strands: close packings, which fill more
than half, have 0.26, pieces of fibres 0.4."""
CELLS: Final = (0.02, 0.5)
"""Contact below which dark particles that fill more than this share are cells: no packing of particles is so dense
without contacts."""
MISSED: Final = 0.03
"""By which F1 is lower than the expected share of right particles: what is missed has no confidence."""
ERROR: Final = 0.05


class Forecast(BaseModel):
    """Accuracy to expect of a segmentation of this scan."""

    model_config = ConfigDict(frozen=True)

    trust: float = Field(description="share of the volume of what looks like particles that is expected right")
    right: float | None = Field(description="expected share of right ones among particles that would be kept")
    f1: float | None = Field(description="F1 at IoU 0.5 to expect; None where nobody calibrated the model")
    f1_interval: tuple[float, float] | None
    fill: float = Field(description="share of the blocks that particles fill")
    contact: float = Field(description="largest contact, as a share of the disc of the diameter, median of particles")
    particles: int = Field(description="particles that were seen in the blocks")
    strange: tuple[str, ...] = Field(description="why this is not understood")


def forecast(sighting: Sighting, info: BundleInfo, *, dark: bool = False) -> Forecast:
    """Return what to expect, from a close look at the size of the particles; `dark` ones may be cells of a foam."""
    believed, kept = trusted(sighting, info), sighting.kept(info)
    trust = float(np.average(believed, weights=sighting.voxels)) if len(believed) else 0.0
    fill = float((sighting.classes > 0).mean()) if sighting.classes.size else 0.0
    contact = float(np.median(sighting.contact[kept])) if kept.any() else 0.0
    right = float(believed[kept].mean()) if info.calibration is not None and kept.any() else None
    f1 = None if right is None else max(0.0, right - MISSED)
    return Forecast(
        trust=trust,
        right=right,
        f1=f1,
        f1_interval=None if f1 is None else (max(0.0, f1 - ERROR), min(1.0, f1 + ERROR)),
        fill=fill,
        contact=contact,
        particles=int(kept.sum()),
        strange=_strange(trust, fill, contact, dark=dark),
    )


def _strange(trust: float, fill: float, contact: float, *, dark: bool) -> tuple[str, ...]:
    said = {
        f"the network trusts {trust:.0%} of what looks like particles": trust < LEAST_TRUST,
        "what looks like particles hangs together in strands, as pieces of fibres do": contact > STRANDS[0]
        and fill < STRANDS[1],
        f"what looks like dark particles fills {fill:.0%} of the volume without contacts, as cells of a foam do": dark
        and contact < CELLS[0]
        and fill > CELLS[1],
    }
    return tuple(text for text, holds in said.items() if holds)
