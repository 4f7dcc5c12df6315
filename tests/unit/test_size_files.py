"""Size analyses as a whole: of tables, as files and charts, and by the command."""

import json
import re
import xml.etree.ElementTree as ET

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import pytest
from size_tables import balls_table

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.granulometry.analysis import size_analysis
from ps3d_core.granulometry.charts import charts_of
from ps3d_core.granulometry.measured import measured_curve
from ps3d_core.granulometry.model import SizeAnalysis
from ps3d_core.granulometry.section import sizes_section
from ps3d_core.granulometry.write import contents_of, write_sizes
from ps3d_core.particles.rounding import significant
from ps3d_core.particles.templating import rendered
from ps3d_core.particles.window import Window
from ps3d_core.sections import sections_of
from ps3d_core.size_params import SizeParams
from ps3d_core.store.location import Location

WINDOW = Window(shape=(400, 400, 400), spacing=0.01)
CURVE = "Siebweite [mm];Durchgang [%]\n0,063;2\n0,125;20\n0,25;70\n0,5;100\n"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    generator = np.random.default_rng(0)
    sizes = np.exp(generator.normal(np.log(0.15), 0.4, 300))
    quartz = generator.uniform(0, 1, 300)
    quartz[0] = np.nan
    low = np.where(np.arange(300) < 40, 0, 50)[:, None] + np.zeros((1, 3), int)
    return balls_table(
        tmp_path_factory.mktemp("table") / "particles.parquet",
        sizes,
        low=low,
        sides=np.ceil(sizes * 100).astype(int)[:, None] + np.zeros((1, 3), int),
        cut=np.arange(300) < 40,
        window=WINDOW,
        sieve_mm=np.where(np.arange(300) == 7, np.nan, sizes * 0.7),
        phase_quartz_share=quartz,
        phase_pyrite_share=1 - quartz,
    )


def test_figures_agree_with_numpy(table):
    rows = pq.read_table(table.local_path)
    sizes, volumes = rows["diameter_mm"].to_numpy(), rows["volume_mm3"].to_numpy()
    found = size_analysis(table)
    assert found.particles == 300
    assert found.volume_mm3 == pytest.approx(volumes.sum())
    by_number = found.of("number")
    assert by_number.d50.value == pytest.approx(np.median(sizes))
    assert by_number.d50.low < by_number.d50.value < by_number.d50.high
    for each, number, volume in zip(
        found.classes, found.of("number").in_classes, found.of("volume").in_classes, strict=True
    ):
        inside = (sizes >= each.lower_mm) & (sizes < each.upper_mm)
        assert each.number == inside.sum()
        assert each.volume_mm3 == pytest.approx(volumes[inside].sum())
        assert number == pytest.approx(inside.mean(), abs=1e-6)
        assert volume == pytest.approx(volumes[inside].sum() / volumes.sum(), abs=1e-6)
    assert sum(each.number for each in found.classes) == 300


def test_one_density_gives_mass_and_the_curve_of_volume(table):
    found = size_analysis(table, SizeParams(density=2.65))
    assert found.mass_mg == pytest.approx(2.65 * found.volume_mm3)
    assert found.of("mass").d50 == found.of("volume").d50
    assert found.params.headline == "mass"


def test_densities_of_phases_give_each_particle_its_own(table):
    rows = pq.read_table(table.local_path)
    volumes, quartz = rows["volume_mm3"].to_numpy(), rows["phase_quartz_share"].to_numpy()
    density = 2.65 * quartz + 5.0 * (1 - quartz)
    density[0] = (density[1:] * volumes[1:]).sum() / volumes[1:].sum()
    found = size_analysis(table, SizeParams(densities={"quartz": 2.65, "pyrite": 5.0}))
    assert found.mass_mg == pytest.approx((density * volumes).sum())
    assert sum(each.mass_mg for each in found.classes) == pytest.approx(found.mass_mg)
    assert found.of("mass").d50.value != found.of("volume").d50.value


def test_over_the_sieve_diameter_what_has_none_is_left_out(table):
    found = size_analysis(table, SizeParams(size="sieve"))
    assert (found.particles, found.left_out) == (299, 1)
    with pytest.raises(InputError, match="no column feret_min_mm") as refused:
        size_analysis(table, SizeParams(size="feret-min"))
    assert "columns of shape" in refused.value.args[1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"densities": {"quartz": 2.65}}, "phase pyrite has no density"),
        ({"densities": {"quartz": 2.65, "gold": 19.0}}, "density of gold: no such phase; the table has pyrite, quartz"),
    ],
)
def test_densities_are_those_of_the_phases(table, params, message):
    with pytest.raises(InputError, match=message):
        size_analysis(table, SizeParams(**params))


@pytest.mark.parametrize(
    "params",
    [
        {"density": 0},
        {"density": 31},
        {"density": float("nan")},
        {"densities": {"a/b": 1.0}},
        {"density": 1.0, "densities": {"a": 1.0}},
        {"weighting": "mass"},
        {"confidence": 1.0},
        {"size": "length"},
    ],
)
def test_parameters_are_checked(params):
    with pytest.raises(ValueError, match="validation error"):
        SizeParams(**params)


def test_what_is_no_particle_table_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(CorruptDataError):
        size_analysis(Location.parse(tmp_path / "a.parquet"))
    bad = balls_table(tmp_path / "b.parquet", np.array([0.1, 0.2]), volume_mm3=np.array([1.0, -1.0]))
    with pytest.raises(InputError, match="volume_mm3 is not above 0"):
        size_analysis(bad)
    words = balls_table(tmp_path / "c.parquet", np.array([0.1, 0.2]), diameter_mm=np.array(["=1+1", "x"]))
    with pytest.raises(InputError, match="not of numbers"):
        size_analysis(words)
    none = balls_table(tmp_path / "d.parquet", np.empty(0))
    with pytest.raises(InputError, match="there is no size distribution"):
        size_analysis(none)


@pytest.mark.parametrize("sizes", [[0.2], [0.2, 0.2, 0.2], [0.1, 0.10000001]])
def test_few_particles_of_one_size_are_analysed_and_drawn(tmp_path, sizes):
    found = size_analysis(balls_table(tmp_path / "t.parquet", np.array(sizes), window=WINDOW))
    assert found.headline.d50.value == pytest.approx(sizes[0])
    assert found.headline.d50.low is None
    assert "too few for intervals" in found.notes[0]
    assert contents_of(found)["size_cumulative.png"]


def test_the_analysis_is_of_bounded_size_and_comes_back_from_json(table):
    found = size_analysis(table, SizeParams(density=2.65, sieve=measured_curve(CURVE, "s.csv")))
    text = found.model_dump_json()
    assert len(text) < 200_000
    assert SizeAnalysis.model_validate_json(text) == found


def test_the_same_table_gives_the_same_files(table, tmp_path):
    params = SizeParams(densities={"quartz": 2.65, "pyrite": 5.0}, sieve=measured_curve(CURVE, "s.csv"))
    one, other = (contents_of(size_analysis(table, params)) for _ in range(2))
    assert one == other
    names = {f"size_{name}" for name in ("cumulative", "density", "classes", "fits", "edge", "sieve")}
    assert names == {name.removesuffix(".svg") for name in one if name.endswith(".svg")}
    assert names == {name.removesuffix(".png") for name in one if name.endswith(".png")}
    for name in names:
        assert ET.fromstring(one[f"{name}.svg"]).tag.endswith("svg")
        picture = imagecodecs.png_decode(one[f"{name}.png"])
        assert picture.shape[1] == 1920
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20


def test_tables_for_spreadsheets_say_what_the_analysis_says(table):
    found = size_analysis(table, SizeParams(density=2.65))
    contents = contents_of(found)
    curve = np.genfromtxt(contents["size_distribution.csv"].decode().splitlines(), delimiter=",", names=True)
    assert curve["size_mm"] == pytest.approx(found.sizes_mm)
    assert curve["passing_volume"] == pytest.approx(found.of("volume").passing, abs=1e-7)
    assert curve["passing_volume"] + curve["retained_volume"] == pytest.approx(np.ones(len(curve)))
    area = np.nansum(curve["density_volume_per_mm"][1:] * np.diff(curve["size_mm"]))
    assert area == pytest.approx(1, abs=1e-5)
    area = np.nansum(curve["log_density_number"][1:] * np.diff(np.log(curve["size_mm"])))
    assert area == pytest.approx(1, abs=1e-5)
    head, *rows = contents["size_classes.csv"].decode().splitlines()
    assert head.startswith("class,lower_mm,upper_mm,number,volume_mm3,mass_mg,share_number,passing_upper_number")
    assert len(rows) == len(found.classes)
    assert rows[0].startswith(found.classes[0].name)


def test_nothing_of_others_is_overwritten_and_old_charts_go(table, tmp_path):
    folder = Location.parse(tmp_path / "sizes")
    with_curve = size_analysis(table, SizeParams(sieve=measured_curve(CURVE, "s.csv")))
    write_sizes(with_curve, folder)
    assert (folder / "size_sieve.svg").exists()
    write_sizes(size_analysis(table), folder)
    assert not (folder / "size_sieve.svg").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "size_fits.png").write_text("mine")
    with pytest.raises(InputError, match="holds what ps3d did not make"):
        write_sizes(with_curve, Location.parse(other))
    assert sorted(file.name for file in other.iterdir()) == ["size_fits.png"]


@pytest.mark.parametrize("name", ["</svg><script>alert(1)</script>", "a & b \"c\" 'd'", "=cmd()"])
def test_names_of_files_become_no_markup(table, name):
    found = size_analysis(table, SizeParams(sieve=measured_curve(CURVE, name)))
    for chart in charts_of(found).values():
        assert "<script" not in chart
        ET.fromstring(str(chart))
    assert all(name not in text.decode() for file, text in contents_of(found).items() if file.endswith(".csv"))


def said(capsys, *words):
    status = main(["sizes", *map(str, words)])
    return status, *capsys.readouterr()


def test_the_command_prints_and_writes(table, tmp_path, capsys):
    sieve = tmp_path / "sieve.csv"
    sieve.write_text(CURVE, encoding="cp1252")
    words = [table.local_path, "--density", "quartz=2.65,pyrite=5", "--sieve", sieve, "--classes", "63um,0.125,0.25"]
    status, out, err = said(capsys, *words, "--output", tmp_path / "out")
    assert (status, err) == (0, "")
    assert out.startswith("300 particles over the equivalent diameter\n")
    for line in (
        r"by mass +0\.\d+ \(0",
        "by number, corrected",
        "rosin-rammler by mass",
        r"sieve\.csv: largest distance",
        "note: a sieve",
    ):
        assert re.search(line, out), line
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"size_distribution.csv", "size_classes.csv", "size_distribution.json", "size_sieve.png"} <= written
    status, out, _ = said(capsys, table.local_path.parent, "--json", "--classes", "astm")
    assert json.loads(out)["classes_title"] == "ASTM E11"
    assert (table.local_path.parent / "sizes" / "size_classes.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--density", "heavy"], "'heavy' is no number"),
        (["--density", "quartz=2,quartz=3"], "named twice"),
        (["--density", "50"], "--density 50: must be at most 30"),
        (["--classes", "0.2,0.1"], "must rise"),
        (["--classes", "nothing.txt"], "no such file"),
        (["--classes", "0.1,many"], "must be a length"),
        (["--sieve", "nothing.csv"], "no such file"),
        (["--weighting", "mass"], "distributions by mass without a density"),
        (["--size", "feret-min"], "measure again with columns of shape, or choose another --size"),
        (["--confidence", "2"], "must be at most 0.999"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_writes_nothing(table, tmp_path, capsys, words, message):
    status, out, err = said(capsys, table.local_path, *words, "--output", tmp_path / "out")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_where_no_table_is_that_is_said(tmp_path, capsys):
    assert "nothing there" in said(capsys, tmp_path / "x")[2]
    assert "an empty folder; check the path" in said(capsys, tmp_path)[2]
    (tmp_path / "particles.csv").write_text("label\n1\n")
    assert "give particles.parquet" in said(capsys, tmp_path / "particles.csv")[2]


def test_classes_may_come_from_a_file(table, tmp_path, capsys):
    (tmp_path / "own.txt").write_text("63um\n0.125\n250um\n")
    status, out, _ = said(
        capsys, table.local_path, "--classes", tmp_path / "own.txt", "--output", tmp_path / "o", "--json"
    )
    assert status == 0
    assert json.loads(out)["params"]["classes"] == [0.063, 0.125, 0.25]


@pytest.mark.parametrize(
    "params", [{}, {"density": 2.65}, {"densities": {"quartz": 2.65, "pyrite": 5.0}, "size": "sieve"}]
)
def test_the_section_of_the_report_says_all_of_it(table, params):
    name = "<b>&.csv"
    found = size_analysis(table, SizeParams(**params, sieve=measured_curve(CURVE, name)))
    page = rendered("granulometry.html.jinja", sizes=sizes_section(found))
    assert "<b>" not in page.replace("<b></b>", "")
    assert page.count("<svg") == 6
    assert page.count("<section") == page.count("</section>") == 1
    for said in ("D50, µm", "Rosin-Rammler", "Corrected for the edge", "Kolmogorov", "95 % intervals"):
        assert said in page, said
    assert ("it lets a particle pass by its width" in page) == (found.params.size == "equivalent")
    assert ("mass, mg" in page) == found.params.knows_mass
    assert significant(1000 * found.headline.d50.value) in page


def test_the_section_of_one_particle_has_neither_fit_nor_intervals(tmp_path):
    found = size_analysis(balls_table(tmp_path / "t.parquet", np.array([2.0])))
    page = rendered("granulometry.html.jinja", sizes=sizes_section(found))
    assert "D50, mm" in page
    assert "Fitted" not in page
    assert "bootstrap" not in page
    assert "too few for intervals" in page


def test_the_page_of_a_result_has_the_section_where_there_are_particles(table, tmp_path):
    sections = sections_of({"parquet": table}, 0.01)
    assert sections["granulometry"]["analysis"] == size_analysis(table)
    assert sections["granulometry"]["corrected"].weighting == "volume"
    none = balls_table(tmp_path / "none.parquet", np.empty(0))
    assert sections_of({"parquet": none}, 0.01) == {}


def test_a_page_comes_with_plain_sizes_where_particles_do_not_have_those_asked_for(tmp_path):
    bare = balls_table(tmp_path / "bare.parquet", np.linspace(0.1, 0.3, 50))
    sections = sections_of({"parquet": bare}, 0.01, SizeParams(densities={"quartz": 2.65}))
    analysis = sections["granulometry"]["analysis"]
    assert analysis.distributions == size_analysis(bare).distributions
    assert "not given as was asked for" in analysis.notes[0]
    assert str(tmp_path) not in analysis.notes[0]
