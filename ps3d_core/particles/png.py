"""Charts as PNG, for programs that take no SVG: drawn by resvg, with a font that comes along.

Fonts of the system would give other bytes on every machine, and none at all in a small container.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Final

SCALE: Final = 2
"""Pixels per unit of the chart: its letters stay sharp in print."""
_FONT: Final = "NotoSans[wdth,wght].ttf"
_FAMILY: Final = "Noto Sans"


def png_of(chart: str) -> bytes:
    """Return a chart, an SVG file of its own with a viewBox, as a PNG on white, `SCALE` pixels per unit."""
    import fontpkg_noto_sans
    import resvg_py

    with as_file(files(fontpkg_noto_sans) / "files" / _FONT) as font:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=chart,
                zoom=SCALE,
                background="#ffffff",
                skip_system_fonts=True,
                font_files=[str(font)],
                font_family=_FAMILY,
                sans_serif_family=_FAMILY,
            )
        )
