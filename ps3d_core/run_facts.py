"""What a report tells of the run behind it: the method in figures, and every parameter.

They come from the plan of a run while it goes on, and from its record when the page is made anew later; both say the
same, so that the page does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ps3d_core.geometry.boxes import shape_text
from ps3d_core.store.ledger import fingerprint


@dataclass(frozen=True, slots=True)
class RunFacts:
    """How the particles of one scan were found.

    Attributes:
        version: of ps3d.
        model: name of the network's bundle.
        digest: of the bundle.
        scan_shape: voxels (z, y, x).
        network_shape: voxels (z, y, x) of the grid that the network saw.
        zoom: network voxels per scan voxel, for a person.
        target: diameter of a mean particle on that grid, voxels.
        particle_size: stated mean diameter, mm.
        region: what was segmented, in words; None for everything.
        split: cores that were split at necks.
        left_out: number of particles that were left out, by the reason.
        parameters: all that was chosen, JSON-able.

    """

    version: str
    model: str
    digest: str
    scan_shape: tuple[int, int, int]
    network_shape: tuple[int, int, int]
    zoom: str
    target: float
    particle_size: float
    region: str | None
    split: int
    left_out: Mapping[str, int]
    parameters: Mapping[str, Any]

    @property
    def quality(self) -> str:
        """How thoroughly the network was applied."""
        return str(self.parameters["predict"]["quality"])

    @property
    def lines(self) -> dict[str, Any]:
        """Everything by its title, nested where it belongs together."""
        return {
            "Model": {"name": self.model, "digest": self.digest},
            "Software": f"ps3d {self.version}",
            "Scan grid, voxels (z, y, x)": shape_text(self.scan_shape),
            "Network grid, voxels (z, y, x)": shape_text(self.network_shape),
            "Zoom": self.zoom,
            **({"Region": self.region} if self.region else {}),
            "Stated particle size, mm": self.particle_size,
            "Split at necks": self.split,
            "Left out": self.left_out,
            "Parameters": self.parameters,
        }


def page_fingerprint(drawn: str, sample: Mapping[str, str]) -> str:
    """Return the fingerprint of a page with these sample data; `drawn` is a digest of all else that decides it."""
    return fingerprint(drawn, list(sample.items())) if sample else drawn
