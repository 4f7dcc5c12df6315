"""Nominal apertures of test sieves, as they are printed in the standards.

ISO 3310-1 takes its apertures from ISO 565: the principal sizes are the series R 20/3, the supplementary ones R 20 and
R 40/3, and below 36 to 45 um come 32, 25 and 20 um of R'10. ASTM E11 has the apertures of R 40/3 and some of R 20, with
the names that are usual in the United States: inches down to 1/4 inch, then numbers of wires per inch (mesh).
"""

from __future__ import annotations

from typing import Final, Literal

SeriesName = Literal["iso", "iso-r20", "iso-r40-3", "astm"]

_FINEST: Final = (0.020, 0.025, 0.032)
_R20: Final = (1.0, 1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.24, 2.5, 2.8, 3.15, 3.55, 4.0, 4.5, 5.0, 5.6, 6.3, 7.1, 8.0, 9.0)
_R20_FINE: Final = (0.036, 0.040, 0.045, 0.050, 0.056, 0.063, 0.071, 0.080, 0.090)

ISO_PRINCIPAL: Final = (
    *_FINEST,
    *(0.045, 0.063, 0.090, 0.125, 0.180, 0.250, 0.355, 0.500, 0.710),
    *(1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.2, 16.0, 22.4, 31.5, 45.0, 63.0, 90.0, 125.0),
)
"""Principal sizes, R 20/3, mm."""

ISO_R20: Final = (
    *_FINEST,
    *_R20_FINE,
    *(round(k * scale, 6) for scale in (0.1, 1.0, 10.0) for k in _R20),
    *(100.0, 112.0, 125.0),
)
"""Supplementary sizes R 20, mm."""

ISO_R40_3: Final = (
    *_FINEST,
    *(0.038, 0.045, 0.053, 0.063, 0.075, 0.090, 0.106, 0.125, 0.150, 0.180, 0.212, 0.250, 0.300, 0.355, 0.425),
    *(0.500, 0.600, 0.710, 0.850, 1.0, 1.18, 1.4, 1.7, 2.0, 2.36, 2.8, 3.35, 4.0, 4.75, 5.6, 6.7, 8.0, 9.5, 11.2),
    *(13.2, 16.0, 19.0, 22.4, 26.5, 31.5, 37.5, 45.0, 53.0, 63.0, 75.0, 90.0, 106.0, 125.0),
)
"""Supplementary sizes R 40/3, mm."""

ASTM: Final = {
    0.020: "No. 635",
    0.025: "No. 500",
    0.032: "No. 450",
    0.038: "No. 400",
    0.045: "No. 325",
    0.053: "No. 270",
    0.063: "No. 230",
    0.075: "No. 200",
    0.090: "No. 170",
    0.106: "No. 140",
    0.125: "No. 120",
    0.150: "No. 100",
    0.180: "No. 80",
    0.212: "No. 70",
    0.250: "No. 60",
    0.300: "No. 50",
    0.355: "No. 45",
    0.425: "No. 40",
    0.500: "No. 35",
    0.600: "No. 30",
    0.710: "No. 25",
    0.850: "No. 20",
    1.00: "No. 18",
    1.18: "No. 16",
    1.40: "No. 14",
    1.70: "No. 12",
    2.00: "No. 10",
    2.36: "No. 8",
    2.80: "No. 7",
    3.35: "No. 6",
    4.00: "No. 5",
    4.75: "No. 4",
    5.60: "No. 3 1/2",
    6.30: "1/4 in",
    6.70: "0.265 in",
    8.00: "5/16 in",
    9.50: "3/8 in",
    11.2: "7/16 in",
    12.5: "1/2 in",
    13.2: "0.530 in",
    16.0: "5/8 in",
    19.0: "3/4 in",
    22.4: "7/8 in",
    25.0: "1.00 in",
    26.5: "1.06 in",
    31.5: "1 1/4 in",
    37.5: "1 1/2 in",
    45.0: "1 3/4 in",
    50.0: "2 in",
    53.0: "2.12 in",
    63.0: "2 1/2 in",
    75.0: "3 in",
    90.0: "3 1/2 in",
    100.0: "4 in",
    106.0: "4.24 in",
    125.0: "5 in",
}
"""Designation by aperture, mm."""

APERTURES: Final[dict[SeriesName, tuple[float, ...]]] = {
    "iso": ISO_PRINCIPAL,
    "iso-r20": ISO_R20,
    "iso-r40-3": ISO_R40_3,
    "astm": tuple(ASTM),
}
"""Apertures of each series, mm, rising."""

TITLES: Final[dict[SeriesName, str]] = {
    "iso": "ISO 3310-1, principal sizes (R 20/3)",
    "iso-r20": "ISO 3310-1, supplementary sizes R 20",
    "iso-r40-3": "ISO 3310-1, supplementary sizes R 40/3",
    "astm": "ASTM E11",
}


def apertures_for(series: SeriesName, low: float, high: float) -> tuple[float, ...]:
    """Return the apertures (mm, rising) of a series that sizes from `low` to `high` (mm) need.

    These are the coarsest that all sizes reach, the finest that all pass, and those between.
    """
    all_of = APERTURES[series]
    first = max((k for k, each in enumerate(all_of) if each <= low), default=0)
    last = min((k for k, each in enumerate(all_of) if each > high), default=len(all_of) - 1)
    return all_of[first : last + 1]


def designation(series: SeriesName | None, aperture: float) -> str:
    """Return what a sieve is called: 250 um, 1.4 mm, and its number in ASTM E11 where that is meant."""
    plain = f"{1000 * aperture:g} um" if aperture < 1 else f"{aperture:g} mm"
    return f"{ASTM[aperture]} ({plain})" if series == "astm" and aperture in ASTM else plain
