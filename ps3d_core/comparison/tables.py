"""What a comparison found, as tables for other programs: a row per scan, and a row per pair and property."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from ps3d_core.comparison.differences import Difference, median
from ps3d_core.comparison.scan import SHAPES, ScanFigures, common_phases, common_shapes
from ps3d_core.sample_data import ID


def scans_csv(scans: Sequence[ScanFigures]) -> str:
    """Return a CSV table with a row per scan, lengths in mm; cells that nobody knows are empty."""
    shapes, phases = common_shapes(list(scans)), common_phases(list(scans))
    head = ["date", "scan", "sample_id", "verdict", "particles", "volume_mm3", "share_percent"]
    head += [f"{name}_by_{weighting}_mm" for weighting in ("volume", "number") for name in ("d10", "d50", "d90")]
    head += ["d50_by_volume_low_mm", "d50_by_volume_high_mm"]
    head += [f"{name}_median" for name in shapes] + [f"phase_{name}_share" for name in phases]
    return _csv(head, (_row(scan, shapes, phases) for scan in scans))


def differences_csv(scans: Sequence[ScanFigures], found: Sequence[Difference]) -> str:
    """Return a CSV table with a row per pair of scans and property that was compared."""
    head = ["scan_a", "scan_b", "property", "distance", "at", "p_corrected", "difference", "distance_by_volume"]
    head += ["change", "change_low", "change_high"]
    rows = (
        [
            scans[each.first].name, scans[each.second].name, each.of, each.distance, each.at, each.p, each.words,
            each.by_volume, each.change, *(each.interval or (None, None)),
        ]
        for each in found
    )  # fmt: skip
    return _csv(head, rows)


def _row(scan: ScanFigures, shapes: Sequence[str], phases: Sequence[str]) -> list[Any]:
    sizes = [getattr(of, name) for of in (scan.by_volume, scan.by_number) for name in ("d10", "d50", "d90")]
    date = None if scan.date is None else scan.date.isoformat()
    return [
        date,
        scan.name,
        scan.sample.get(ID),
        scan.verdict,
        scan.particles,
        scan.volume,
        scan.percent,
        *sizes,
        *scan.d50_interval,
        *(median(scan.shapes[name]) for name in SHAPES if name in shapes),
        *(scan.phases[name].value for name in phases),
    ]


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, head))
    writer.writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    text = "" if value is None else str(value)
    # Names come from outside, and a spreadsheet would take such a cell for a formula.
    return f"'{text}" if isinstance(value, str) and text[:1] in set("=+-@\t\r") else text
