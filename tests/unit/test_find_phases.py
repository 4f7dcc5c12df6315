"""Phases found in interiors, and what a sample as a whole is said to be made of."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.composition.analysis import analyse_composition
from ps3d_core.composition.files import read_phases
from ps3d_core.composition.find import FindPhases, found_phases, phases_chart
from ps3d_core.composition.interiors import added, counted, grey_of
from ps3d_core.composition.section import composition_csv, composition_section
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.particles.table import read_table
from ps3d_core.particles.templating import rendered
from ps3d_core.phases import phase_lines
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image
from tests.composed import composed

GREYS = (90.0, 150.0, 220.0)


@pytest.fixture(scope="module")
def sample():
    return composed(9, 18.0, (0, 1, 2), GREYS, noise=10.0, seed=3)


def test_phases_are_found_in_any_blocks_alike(sample, tmp_path):
    root, found = Location.parse(tmp_path), []
    shape = sample.labels.shape
    chunks = {"shards": (32, 32, 32), "chunks": (16, 16, 16)}
    for what, values in (("labels", sample.labels), ("grey", sample.grey.clip(0).astype(np.uint8))):
        create_image(root / what, shape, values.dtype, spacing=0.01, name=what, **chunks)[:] = values
    for number, (block, workers) in enumerate(((None, 1), ((32, 32, 32), 2))):
        work, file = root / f"work{number}", root / f"{number}.json"
        step = FindPhases(root / "labels", root / "grey", "id", 3, work, file, block_shape=block)
        context = Context(Runner(workers=workers))
        found.append(Engine(work, [step]).run_all(context).of(FindPhases))
    assert found[0] == found[1]
    phases = found[0].phases
    assert read_phases(root / "0.json") == read_phases(root / "1.json") == phases
    assert [phase.mean("grey") for phase in phases.phases] == pytest.approx(GREYS, abs=3)
    assert phases.background["grey"] == pytest.approx(20, abs=2)
    assert phases.noise["grey"] == pytest.approx(10, abs=1)
    assert [line.split("=")[0] for line in phase_lines(phases, found[0].shares)] == ["p1", "p2", "p3"]
    assert "bar s2" in phases_chart(found[0])


def test_phases_are_found_in_the_image_that_is_named(sample, tmp_path, capsys):
    root, shape = Location.parse(tmp_path), sample.labels.shape
    other = sample.grey.clip(0).astype(np.uint8)
    for what, values in (("labels", sample.labels), ("grey", 0 * other + 7), ("high", other)):
        create_image(root / what, shape, values.dtype, spacing=0.01, name=what)[:] = values
    measure = ["measure", f"{root}/labels", f"{root}/table", "--image", f"{root}/grey", "--image", f"high={root}/high"]
    assert main([*measure, "--find-phases", "3", "--find-in", "high"]) == 0
    phases = read_phases(root / "table" / "phases.json")
    assert phases.images == ("high",)
    assert [phase.mean("high") for phase in phases.phases] == pytest.approx(GREYS, abs=3)
    assert phases.background["high"] == pytest.approx(20, abs=2)
    found = read_table(root / "table" / "particles.parquet", ["phase_p1_share", "high_grey_mean"])
    assert main([*measure, "--phases", f"{root}/table/phases.json"]) == 0
    assert read_table(root / "table" / "particles.parquet", found.column_names).equals(found)
    capsys.readouterr()
    for wrong, words in (
        (
            ["--find-phases", "3", "--find-in", "High"],
            "a phase is of image High, which was not given; did you mean high",
        ),
        (["--find-phases", "3", "--find-in", "low"], "which was not given; add it as NAME=PATH"),
        (["--find-in", "high"], "phases are to be found in image high, and not how many; say their number"),
    ):
        assert main([*measure, *wrong]) == 2
        assert words in capsys.readouterr().err


def test_a_rare_phase_is_found_and_one_too_many_is_refused():
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 60, 60), np.uint32)
    labels[3:-3, 3:-3, 3:-3] = 1
    grey = np.where(labels, 100.0, 10.0)
    grey[8:17, 8:17, 8:17] = 200.0
    counts = counted(labels, (grey + rng.normal(0, 6, grey.shape)).astype(np.float32), (0, 0, 0), labels.shape)
    found = found_phases(counts, 2)
    assert [phase.mean("grey") for phase in found.phases.phases] == pytest.approx([100, 200], abs=3)
    assert found.shares["p2"] < 0.02
    with pytest.raises(InputError, match="2 peaks"):
        found_phases(counts, 8)
    with pytest.raises(InputError, match="500 are needed"):
        found_phases(counted(labels[:6, :6, :6], grey[:6, :6, :6].astype("f4"), (0, 0, 0), (6, 6, 6)), 2)


def test_bins_keep_order_and_value():
    labels = np.ones((5, 5, 5), np.uint32)
    for value in (-31234.5, -1e-3, 0.0, 17.0, 65535.0):
        counts = counted(labels, np.full(labels.shape, value, np.float32), (0, 0, 0), labels.shape)
        assert counts.pair_counts.tolist() == [1]
        assert grey_of(counts.pairs >> np.uint64(32))[0] == pytest.approx(value, rel=3e-4, abs=1e-30)
        assert added(counts, counts).pair_counts.tolist() == [2]


def columns(shares, exposed=None, volume=None):
    shares = np.array(shares, float)
    n, phases = shares.shape
    volume = np.ones(n) if volume is None else np.array(volume, float)
    values = {"volume_mm3": volume, "diameter_mm": np.cbrt(6 / np.pi * volume), "surface_area_mm2": np.ones(n)}
    for p, name in zip(range(phases), "ab", strict=True):
        values[f"phase_{name}_share"] = shares[:, p]
        values[f"phase_{name}_exposed"] = shares[:, p] if exposed is None else np.array(exposed, float)[:, p]
        values[f"phase_{name}_inclusions"] = np.ones(n, np.int64)
    return values


def test_a_sample_in_figures_by_hand():
    """Four particles of volume 1, 1, 2 and 4 with 100, 92, 50 and 10 % of a."""
    shares = [[1, 0], [0.92, 0.08], [0.5, 0.5], [0.1, 0.9], [np.nan, np.nan]]
    found = analyse_composition(columns(shares, volume=[1, 1, 2, 4, 1]), "ab")
    a, b = found.phases
    whole = 1 + 0.92 + 1 + 0.4
    assert (found.particles, found.left_out, found.by) == (4, 1, "volume")
    assert a.volume_share == pytest.approx(whole / 8)
    assert list(a.classes) == ["free", "liberated", "middlings", "locked"]
    assert list(a.classes.values()) == pytest.approx([1 / whole, 0.92 / whole, 1 / whole, 0.4 / whole])
    assert a.liberated == pytest.approx(1.92 / whole)
    assert a.liberation[0] == 1
    assert a.liberation[50] == pytest.approx(2.92 / whole)
    assert a.liberation[51] == pytest.approx(1.92 / whole)
    assert a.grade[50] == pytest.approx(2.92 / 4)
    assert a.grade[0] == pytest.approx(whole / 8)
    assert (a.grade[100], a.recovery[100]) == pytest.approx((1, 1 / whole))
    assert b.particles == 3
    assert sum(size.share for size in found.sizes) == pytest.approx(1)
    assert [sum(size.distribution[name] for size in found.sizes) for name in "ab"] == pytest.approx([1, 1])


def test_mass_and_surface_count_where_they_should():
    values = columns([[0.5, 0.5]], exposed=[[0.2, 0.8]])
    found = analyse_composition(values, "ab", {"a": 1.0, "b": 3.0})
    assert found.by == "mass"
    assert found.phases[0].mass_share == pytest.approx(0.25)
    assert found.phases[0].surface_share == pytest.approx(0.2)
    assert found.phases[0].exposure[20] == 1
    assert found.phases[0].exposure[21] == 0
    assert analyse_composition(columns([[np.nan, np.nan]]), "ab") is None


def test_section_and_file_say_all_phases():
    found = analyse_composition(columns([[1, 0], [0.3, 0.7]]), "ab")
    page = rendered("composition.html.jinja", composition=composition_section(found))
    assert page.count("<svg") == 3
    assert "65.0 %" in page
    rows = list(csv.DictReader(io.StringIO(composition_csv(found))))
    assert {row["phase"] for row in rows} == {"a", "b", ""}
    assert sum(row["figure"] == "liberation" for row in rows) == 202
