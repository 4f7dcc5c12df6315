"""What the report says of contacts and packing, as the figures that `contacts.html.jinja` shows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.contacts.profile import Profile, Profiles
from ps3d_core.particles.charts import Series, profile_chart, whole_numbers
from ps3d_core.particles.units import MILLIMETRES, Units

PARTS: Final = 60
"""Of a profile that is drawn, at most: single slices are noise."""
MOST_BARS: Final = 40
"""Of the distribution; the last one has all numbers above."""

Figures = dict[str, Any]
"""What a template shows, by the names it has there."""


def contacts_section(
    coordination: npt.NDArray[np.integer[Any]],
    cut: npt.NDArray[np.bool_],
    profiles: Profiles,
    units: Units = MILLIMETRES,
) -> Figures:
    """Return distribution of coordination numbers and profiles of the packing fraction, drawn and in figures.

    Args:
        coordination: number of particles that each touches, (n,).
        cut: whether the edge of the scan or the region cuts it, (n,); these have neighbours that nobody sees, and are
            left out.
        profiles: what packing.csv says.
        units: that the page speaks in.

    """
    whole = coordination[~cut]
    said: Figures = {
        "particles": len(whole),
        "left_out": int(cut.sum()),
        "packing_percent": None if profiles.whole is None else 100 * profiles.whole,
        "profiles": [
            {"name": name, "chart": _profile(profile, units, f"{what}, {units.length}", name)}
            for profile, name, what in (
                (profiles.along_z, "Packing along z", "position along z"),
                (profiles.along_radius, "Packing across", "distance from the axis"),
            )
            if np.any(profile.volume > 0)
        ],
    }
    if len(whole):
        said |= {
            "mean": float(whole.mean()),
            "median": float(np.median(whole)),
            "alone_percent": 100 * float((whole == 0).mean()),
            "most": int(whole.max()),
            "clipped": int(whole.max()) >= MOST_BARS,
            "chart": whole_numbers(
                np.bincount(np.minimum(whole, MOST_BARS - 1)),
                x_label="coordination number",
                y_label="particles",
                alt="Distribution of coordination numbers",
            ),
        }
    return said


def _profile(profile: Profile, units: Units, x_label: str, alt: str) -> Any:
    shown = profile.coarser(PARTS)
    middle = units.length_of((shown.edges[:-1] + shown.edges[1:]) / 2)
    return profile_chart(
        [Series("packing fraction", middle, shown.fraction)], x_label=x_label, y_label="packing fraction", alt=alt
    )
