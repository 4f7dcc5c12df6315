"""Comparing scans: one material is not found to differ, another is, and by how much; names are text."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ps3d_app.flows.command.cli import main
from ps3d_core.comparison.binned import RATIO_EDGES, SIZE_EDGES, Binned
from ps3d_core.comparison.compare import compare
from ps3d_core.comparison.differences import differences, holm, kolmogorov_smirnov
from ps3d_core.comparison.page import compare_page, page_figures
from ps3d_core.comparison.results import FoundResult, found_results
from ps3d_core.comparison.scan import ScanFigures, Share, scan_figures
from ps3d_core.errors import InputError
from ps3d_core.particles.distribution import size_distribution
from ps3d_core.particles.table import COLUMNS, arrow_table, write_table
from ps3d_core.store.location import Location
from tests.unit.test_report import HOSTILE, Page

SPACING = 0.01


def voxels_of(n, median, seed, sigma=0.4):
    diameters = np.exp(np.random.default_rng(seed).normal(np.log(median), sigma, n))
    return np.maximum(1, np.pi / 6 * (diameters / SPACING) ** 3).astype(np.int64)


def write(place, voxels, seed=0, sphericity=0.85):
    """A table as ps3d measure writes it, with these sizes and shapes around the usual."""
    n, rng = len(voxels), np.random.default_rng(seed)
    kinds = {"string": "", "bool": False}
    columns = {c.name: np.full(n, kinds.get(c.type, 0), dtype=None if c.type == "string" else c.type) for c in COLUMNS}
    columns["label"] = np.arange(1, n + 1, dtype=np.uint32)
    columns |= {"voxels": voxels, "volume_mm3": voxels * SPACING**3}
    for name, mean in {"sphericity": sphericity, "elongation": 0.75, "flatness": 0.8}.items():
        columns[name] = np.clip(rng.normal(mean, 0.05, n), 0, 1)
    place = Location.parse(place)
    write_table([arrow_table(columns)], place / "particles.parquet", place / "particles.csv")
    return place


MATERIALS = {"one": (0.3, 0.85), "other": (0.3, 0.85), "coarse": (0.36, 0.85), "rough": (0.3, 0.80)}


@pytest.fixture
def tables(tmp_path):
    """Two tables of one material, one of a coarser, one of the same sizes with rougher particles."""
    return [
        write(tmp_path / "results" / name, voxels_of(2000, median, seed), seed, sphericity)
        for seed, (name, (median, sphericity)) in enumerate(MATERIALS.items(), 1)
    ]


def of(found, first, second):
    return {each.of: each for each in found if (each.first, each.second) == (first, second)}


def test_known_differences_are_found_and_others_are_not(tables):
    scans = [scan_figures(FoundResult(place, None), seed) for seed, place in enumerate(tables)]
    found = differences(scans)
    assert {each.of for each in found} == {"size", "sphericity", "elongation", "flatness"}
    assert not any(each.shown for each in of(found, 0, 1).values())
    low, high = of(found, 0, 1)["size"].interval
    assert low < 0 < high
    coarse = of(found, 0, 2)
    assert {name for name, each in coarse.items() if each.shown} == {"size"}
    low, high = coarse["size"].interval
    assert 0 < low < coarse["size"].change < high
    assert coarse["size"].change == pytest.approx(0.06 * np.exp(3 * 0.4**2), rel=0.3)  # median by volume, log-normal
    assert coarse["size"].words == "moderate"
    rough = of(found, 0, 3)
    assert {name for name, each in rough.items() if each.shown} == {"sphericity"}
    assert rough["sphericity"].change == pytest.approx(-0.05, abs=0.005)


def test_a_scan_does_not_differ_from_itself(tables):
    scans = [scan_figures(FoundResult(tables[0], None), seed) for seed in (0, 1)]
    for each in differences(scans):
        assert (each.distance, each.p, each.change, each.words) == (0, 1, 0, "none shown")
    low, high = differences(scans)[0].interval
    assert low < 0 < high


def test_distance_and_probability_are_those_of_scipy():
    one, other = (voxels_of(n, median, n).astype(float) ** (1 / 3) for n, median in ((700, 0.3), (900, 0.32)))
    distance, at, p = kolmogorov_smirnov(Binned.of(one, SIZE_EDGES), Binned.of(other, SIZE_EDGES))
    expected = ks_2samp(one, other, method="asymp")
    assert distance == pytest.approx(expected.statistic, abs=2e-3)
    assert p == pytest.approx(expected.pvalue, rel=0.1)
    assert at == pytest.approx(expected.statistic_location, rel=0.05)


def test_holm_corrects_as_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, float("nan")]) == [1, 1]


def test_intervals_of_d50_hold_it_as_often_as_they_say():
    truth = 0.3 * np.exp(3 * 0.4**2)
    held = 0
    for seed in range(60):
        voxels = voxels_of(400, 0.3, 1000 + seed)
        sizes, counts = np.unique(voxels, return_counts=True)
        diameters = np.cbrt(6 / np.pi * sizes) * SPACING
        replicates = Binned.of(diameters, SIZE_EDGES, counts, sizes.astype(float)).medians(seed, weighted=True)
        low, high = np.quantile(size_distribution(voxels, SPACING, "volume").d50 * replicates, (0.025, 0.975))
        held += low <= truth <= high
    assert 51 <= held <= 60  # 57 are expected


def test_figures_are_those_of_the_report(tables):
    scan = scan_figures(FoundResult(tables[0], None), 0)
    voxels = voxels_of(2000, 0.3, 1)
    for figures, weighting in ((scan.by_volume, "volume"), (scan.by_number, "number")):
        expected = size_distribution(voxels, SPACING, weighting)
        assert [figures.d10, figures.d50, figures.d90] == pytest.approx([expected.d10, expected.d50, expected.d90])
    assert scan.particles == 2000
    assert scan.volume == pytest.approx(voxels.sum() * SPACING**3)


def scan(name="a", phases=None, date=None, sample=None, seed=0, verdict=None):
    voxels = voxels_of(300, 0.3, seed)
    sizes, counts = np.unique(voxels, return_counts=True)
    binned = Binned.of(np.cbrt(6 / np.pi * sizes) * SPACING, SIZE_EDGES, counts, sizes.astype(float))
    both = [size_distribution(voxels, SPACING, weighting) for weighting in ("volume", "number")]
    shapes = {"sphericity": Binned.of(np.random.default_rng(seed).uniform(0.5, 1, 300), RATIO_EDGES)}
    return ScanFigures(
        name, sample or {}, date, verdict, 300, 1.0, 12.0, *both, binned,
        both[0].d50 * binned.medians(seed, weighted=True), shapes, phases or {},
    )  # fmt: skip


def test_shares_of_phases_are_compared_with_what_sampling_does_to_them():
    scans = [scan(phases={"quartz": Share(value, 0.01)}) for value in (0.60, 0.61, 0.68)]
    found = [each for each in differences(scans) if each.of == "phase quartz"]
    assert [each.shown for each in found] == [False, True, True]
    assert found[1].interval == pytest.approx((0.08 - 1.96 * 0.01 * 2**0.5, 0.08 + 1.96 * 0.01 * 2**0.5))
    page = Page(compare_page(scans, differences(scans)))
    assert "quartz, %" in page.words
    assert "+8.00 points" in page.words


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_and_samples_are_text_and_nothing_else(hostile):
    def page(word):
        scans = [scan(word, {word: Share(0.5, 0.1)}, None, {"id": word}, seed, word) for seed in range(3)]
        return Page(compare_page(scans, differences(scans)))

    assert page(hostile).tags == page("b").tags
    assert [name for name, _ in page(hostile).attributes] == [name for name, _ in page("b").attributes]
    assert sum(hostile in text for text in page(hostile).text) >= 12
    assert "script" not in page(hostile).tags


def test_many_scans_over_time_are_compared_with_the_first():
    scans = [scan(f"s{n}", date=datetime(2026, 1, 1 + n, tzinfo=UTC), seed=n) for n in range(20)]
    found = differences(scans)
    assert {(each.first, each.second) for each in found} == {(0, n) for n in range(1, 20)}
    figures = page_figures(scans, found)
    assert not figures["coloured"]
    assert [trend["name"] for trend in figures["trends"]] == [
        "Size over time", "Share of particles", "Number of particles",
    ]  # fmt: skip
    words = Page(compare_page(scans, found)).words
    for expected in ("2026-01-01", "2026-01-20", "diameter by volume, µm", "Every scan is compared with the first"):
        assert expected in words


def run_json(place, finished, sample=None):
    """The record of an earlier release, which has no checksum, with what a comparison needs."""
    record = {
        "scan": place.name, "fingerprint": "f", "finished": finished, "software": {"ps3d": "1"},
        "input": {"shape": [100, 100, 100]}, "model": {}, "parameters": {}, "grids": {}, "seconds": {}, "results": {},
        "counts": {"verdict": {"grade": "good"}}, "sample": sample or {},
    }  # fmt: skip
    (place / "run.json").write_text(json.dumps(record))


def test_results_are_found_in_folders_and_by_date(tables):
    results = tables[0].parent
    run_json(tables[0], "2026-11-03T10:00:00+00:00")
    run_json(tables[1], "2026-11-20T10:00:00+00:00", {"date": "2026-11-01"})
    run_json(tables[2], "2026-11-05T10:00:00+00:00")
    names = [found.folder.name for found in found_results([results, tables[0]])]
    assert names == ["rough", "other", "one", "coarse"]
    since = datetime(2026, 11, 3)
    assert [found.folder.name for found in found_results([results], since)] == ["one", "coarse"]
    with pytest.raises(InputError, match=r"no result of 2027-01-01 or later among 4"):
        found_results([results], datetime(2027, 1, 1))
    with pytest.raises(InputError, match="nothing there"):
        found_results([results / "absent"])
    with pytest.raises(InputError, match=r"no particles\.parquet"):
        found_results([results.parent])
    with pytest.raises(InputError, match="must be at least 2"):
        compare(found_results([tables[0]]), results.parent / "out")


def test_the_same_results_give_the_same_files_and_a_spreadsheet_finds_no_formula(tables, tmp_path):
    run_json(tables[0], "2026-11-03T10:00:00+00:00", {"id": "=cmd|'/c calc'!A1"})
    line = ["compare", str(tables[0].parent), "--output", str(tmp_path / "out")]
    assert main(line) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name[0] != "."}
    assert sorted(files) == ["compare.html", "comparison.csv", "differences.csv"]
    assert main(line) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name[0] != "."} == files
    rows = list(csv.DictReader(io.StringIO(files["comparison.csv"].decode())))
    assert [row["sample_id"] for row in rows if row["sample_id"]] == ["'=cmd|'/c calc'!A1"]
    assert [row["verdict"] for row in rows if row["verdict"]] == ["good"]
    assert float(rows[0]["d50_by_volume_low_mm"]) < float(rows[0]["d50_by_volume_mm"])
    pairs = list(csv.DictReader(io.StringIO(files["differences.csv"].decode())))
    assert len(pairs) == 6 * 4


def test_what_somebody_else_wrote_stays(tables, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "compare.html").write_text("mine")
    assert main(["compare", *map(str, tables[:2]), "--output", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "compare.html").read_text() == "mine"
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "compare.html"]


def test_a_table_without_particles_is_refused(tmp_path):
    empty = write(tmp_path / "empty", np.empty(0, np.int64))
    with pytest.raises(InputError, match="no particles in its table"):
        scan_figures(FoundResult(empty, None), 0)


def test_of_a_folder_of_many_what_cannot_be_compared_is_left_out_and_said(tables, tmp_path, capsys):
    folder = tables[0].parent
    write(folder / "empty", np.empty(0, np.int64))
    (folder / "torn" / "particles.parquet").write_bytes(b"no table")
    write(folder / "changed", voxels_of(50, 0.3, 9))
    (folder / "changed" / "run.json").write_text("{")
    assert main(["compare", str(folder), "--output", str(tmp_path / "out")]) == 0
    said = "".join(capsys.readouterr())
    for name in ("empty", "torn/particles.parquet", "changed/run.json"):
        assert f"left out: {folder / name}: " in said
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "comparison.csv").read_text())))
    assert {row["scan"] for row in rows} == set(MATERIALS)
    for name in ("empty", "torn", "changed"):
        assert main(["compare", str(folder / name), str(tables[0]), "--output", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()


def test_scans_of_one_name_are_told_apart(tmp_path):
    places = [write(tmp_path / place, voxels_of(50, 0.3, 1)) for place in ("a/x/ore", "b/x/ore", "b/x/sand")]
    assert [found.title for found in found_results(places)] == ["ore (a/x/ore)", "ore (b/x/ore)", "sand"]


def test_a_comparison_is_never_written_into_a_result(tables, tmp_path):
    before = sorted(tables[0].children())
    assert main(["compare", *map(str, tables[:2]), "--output", str(tables[0])]) == 2
    assert main(["compare", *map(str, tables[:2]), "--output", str(tables[0] / "more")]) == 2
    assert sorted(tables[0].children()) == before


def test_phases_that_nobody_knows_of_a_scan_do_not_differ(tables):
    one, other = (scan_figures(FoundResult(place, None), seed) for seed, place in enumerate(tables[:2]))
    one = replace(one, phases={"quartz": Share(0.5, 0.01)})
    other = replace(other, phases={"quartz": Share(float("nan"), float("nan"))})
    assert "phase quartz" not in {each.of for each in differences([one, other])}
    assert "nan" not in compare_page([one, other], differences([one, other]))


def test_curves_that_are_alike_are_apart_nowhere(tables):
    scan = scan_figures(FoundResult(tables[0], None), 0)
    assert {each.at for each in differences([scan, scan])} == {None}
