"""Results of several scans in one page and two tables: side by side, over time, and whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ps3d_core.comparison.differences import Difference, differences
from ps3d_core.comparison.page import compare_page
from ps3d_core.comparison.results import UNUSABLE, FoundResult
from ps3d_core.comparison.scan import ScanFigures, scan_figures
from ps3d_core.comparison.tables import differences_csv, scans_csv
from ps3d_core.errors import InputError
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.claim import Output, check_outputs
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import is_published, publish_text, read_receipt


@dataclass(frozen=True, slots=True)
class Comparison:
    """Scans that were compared, the earliest first, their differences, and the files that say so."""

    scans: tuple[ScanFigures, ...]
    differences: tuple[Difference, ...]
    page: Location
    table: Location
    pairs: Location


def compare(results: Sequence[FoundResult], output: Location, progress: Progress = SILENT) -> Comparison:
    """Compare `results` and write compare.html, comparison.csv and differences.csv into the folder `output`.

    Tables are read one after the other, a column at a time. The same results give the same bytes. What was found in a
    folder of many and cannot be compared is left out, which `progress` is told. Raise `InputError` for fewer than two
    results, for one that was named and cannot be compared, and for places that hold files of somebody else, or lie in
    a result.
    """
    if len(results) < 2:
        raise InputError(f"{len(results)} result: must be at least 2 to compare; name more")
    page, table, pairs = (output / name for name in ("compare.html", "comparison.csv", "differences.csv"))
    outputs = [Output(file, is_published) for file in (page, table, pairs)]
    check_outputs(outputs, inputs=[each.folder for each in results])
    read_receipt(output)
    scans = _figures(results, progress)
    if len(scans) < 2:
        raise InputError(f"{len(scans)} of {len(results)} results can be compared: must be at least 2; name more")
    found = differences(scans)
    publish_text(table, scans_csv(scans))
    publish_text(pairs, differences_csv(scans, found))
    publish_text(page, compare_page(scans, found))
    return Comparison(tuple(scans), tuple(found), page, table, pairs)


def _figures(results: Sequence[FoundResult], progress: Progress) -> list[ScanFigures]:
    """What is kept of each result that can be compared."""
    scans = []
    with progress.stage("compare", len(results), "scans") as stage:
        for seed, result in enumerate(results):
            try:
                if result.problem is not None:
                    raise InputError(result.problem)
                scans.append(scan_figures(result, seed))
            except UNUSABLE as error:
                if result.named:
                    raise
                progress.note(f"left out: {error}")
            stage.advance()
    return scans
