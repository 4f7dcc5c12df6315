"""The page of a look: what was found, and the same places seen at three sizes, for a person to choose by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ps3d_core.duration import duration_text
from ps3d_core.inspection.record import Inspection
from ps3d_core.inspection.sighting import Sighting
from ps3d_core.particles.charts import Series, line_chart
from ps3d_core.particles.overlay import plane_pictures
from ps3d_core.particles.report_sections import data_url
from ps3d_core.particles.templating import rendered
from ps3d_core.quality import LEVELS

SHOWN: Final = 3
"""Blocks of each size that are shown."""
FACTORS: Final = (1 / 1.6, 1.0, 1.6)
"""Sizes that are shown, as shares of the one that was found."""
_SIDE: Final = 256


def page_of(seen: Inspection, sightings: Sequence[Sighting], target: float) -> str:
    """Return a page of HTML, which shows itself in any browser, about a look and its `sightings` at some sizes.

    `target` is the particle size in network voxels for which these were taken.
    """
    return rendered(
        "inspection.html.jinja",
        seen=seen,
        sizes=[_size(sighting, target / sighting.zoom * seen.mean_spacing) for sighting in sightings],
        chart=_chart(seen),
        facts=_facts(seen),
    )


def _size(sighting: Sighting, size: float) -> dict[str, Any]:
    """Pictures of the blocks that show most, each through its middle."""
    full = (sighting.labels > 0).mean(axis=(1, 2, 3)) if len(sighting.labels) else np.zeros(0)
    rows = np.sort(np.argsort(-full, kind="stable")[:SHOWN])
    middle = sighting.blocks.shape[1] // 2
    greys, labels = ([each[row, middle] for row in rows] for each in (sighting.blocks, sighting.labels))
    pictures = [tuple(map(data_url, pair)) for pair in plane_pictures(greys, labels, _SIDE)] if len(rows) else []
    return {"size": size, "pictures": pictures, "particles": len(sighting.voxels)}


def _chart(seen: Inspection) -> Any:
    """Trust and agreement over the sizes that were tried; nothing when these are too few."""
    tried = sorted(seen.size.tried, key=lambda each: each.size) if seen.size else []
    if len(tried) < 2:
        return None
    sizes = np.array([each.size * seen.mean_spacing for each in tried])
    series = [
        Series("agreement", sizes, np.array([each.agreement for each in tried])),
        Series("trust", sizes, np.array([each.trust for each in tried])),
    ]
    return line_chart(series, x_label="particle size that was tried, mm", y_label="share", alt="Agreement by size")


def _facts(seen: Inspection) -> list[tuple[str, str]]:
    quality, found = seen.quality, seen.forecast
    facts: dict[str, Any] = {
        "Model": seen.model,
        "Stated particle size, mm": seen.stated_mm,
        "Surroundings": seen.surroundings or "no wall or field of view is clear",
        "Particles seen": found.particles,
        "Share of the blocks that they fill": f"{found.fill:.0%}",
        "Trust in what looks like particles": f"{found.trust:.0%}",
        "Contrast, standard deviations": quality.contrast and f"{quality.contrast:.1f}",
        "Blur of edges, voxels": quality.blur and f"{quality.blur:.1f}",
        "Rings, share of the contrast": quality.rings is not None and f"{quality.rings:.1%}",
        "Drift from first slice to last, share of the contrast": quality.drift is not None and f"{quality.drift:.1%}",
        "Voxels at the least or greatest grey value": f"{quality.saturated:.1%}",
        "Smallest particles to be trusted, voxels": f"{quality.smallest:.1f}",
        **{f"Prediction here, quality {level}": duration_text(seen.seconds_at(level)) for level in LEVELS},
        "Seconds that the look took": f"{seen.seconds:.0f}",
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, False)]
