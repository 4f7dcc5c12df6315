"""What the report says of sizes, as the figures that `granulometry.html.jinja` shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ps3d_core.granulometry import charts
from ps3d_core.granulometry.fits import METHOD
from ps3d_core.granulometry.model import Distribution, SizeAnalysis
from ps3d_core.granulometry.source import NAME
from ps3d_core.particles.units import Units

Figures = dict[str, Any]
"""What a template shows, by the names it has there."""


def sizes_section(analysis: SizeAnalysis, units: Units | None = None) -> Figures:
    """Return size distributions, drawn and in figures, in `units` or in those that suit the sizes."""
    units = units or charts.units_of(analysis)
    return {
        "analysis": analysis,
        "unit": units,
        "size": NAME[analysis.params.size],
        "charts": charts.charts_of(analysis, standalone=False, units=units),
        "rows": [(charts.named(analysis, each.weighting), each) for each in charts.shown(analysis)],
        "legends": {
            "cumulative": charts.cumulative(analysis, units),
            "fits": charts.fits(analysis, units),
            "edge": charts.edge(analysis, units),
            "sieve": charts.sieve(analysis, units),
        },
        "fits": [(charts.FIT_NAMES[each.name], each) for each in analysis.fits[analysis.params.headline]],
        "fit_method": METHOD,
        "classes": list(zip(analysis.classes, class_shares(analysis.headline), strict=True)),
    }


def class_shares(distribution: Distribution) -> list[tuple[float, float, float]]:
    """Return of each class its share, and the shares that pass and stay on its upper sieve, percent."""
    upto = np.minimum(np.cumsum(distribution.in_classes), 1.0)
    return [(100 * a, 100 * b, 100 * (1 - b)) for a, b in zip(distribution.in_classes, upto.tolist(), strict=True)]
