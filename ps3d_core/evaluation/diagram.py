"""Reliability diagram: how often particles are right, over how often they ought to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ps3d_core.evaluation.reliability import Reliability
from ps3d_core.particles.charts import Series, share_chart

if TYPE_CHECKING:
    from markupsafe import Markup


def reliability_diagram(found: Reliability, *, standalone: bool = True) -> Markup:
    """Return the diagram as SVG: one point per group of equally many particles, on the diagonal where all is well."""
    x, y = (np.array([getattr(group, name) for group in found.groups]) for name in ("confidence", "right"))
    marks = [(float(a), float(b), "") for a, b in zip(x, y, strict=True)]
    curves = [Series("as it should be", np.array([0.0, 1.0]), np.array([0.0, 1.0])), Series("found", x, y, marks)]
    return share_chart(
        curves,
        x_label="confidence, mean of a tenth of the particles",
        y_label="right particles",
        alt="Reliability diagram",
        standalone=standalone,
    )
