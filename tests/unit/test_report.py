"""The page: complete, self-contained, small, and nothing from outside gets into its markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import jinja2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from labelled import stored, voronoi
from markupsafe import Markup

from ps3d_core.measuring.measure import measure_particles
from ps3d_core.particles import preview, templating
from ps3d_core.particles.charts import Series, histogram, line_chart, log_ticks, nice_ceiling
from ps3d_core.particles.crops import SHOWN
from ps3d_core.particles.overlay import Picture, overlay_pictures
from ps3d_core.particles.report import MAX_BYTES, SECTIONS, About, fact_lines, page_figures, write_report
from ps3d_core.particles.report_sections import MAX_HEIGHT
from ps3d_core.particles.rounding import round_length, significant
from ps3d_core.particles.table import read_columns, read_table, write_table
from ps3d_core.particles.templating import rendered
from ps3d_core.particles.verdict import Evidence, verdict_on
from ps3d_core.run_facts import RunFacts
from ps3d_core.store.location import Location

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title><svg/onload=alert(1)>",
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }} {% raw %} {# %s",
    "# _x_ **b** [a](http://e/) `c` | d",
    "&lt;b&gt; &amp;",
    "name\x00with\nodd\tcharacters \u202e",
]
VOID = {"meta", "img", "input", "br"}
PIECES = st.sampled_from([*HOSTILE, "</", ">", "<!--", "]]>", "'", '"', "&"]) | st.text(min_size=1, max_size=5)
TEXTS = st.lists(PIECES, min_size=1).map("".join)


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self._open = [], [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Location.parse(tmp_path_factory.mktemp("report"))
    labels = voronoi((24, 26, 28), 25, seed=6)
    stored(place / "labels.zarr", labels)
    stored(place / "image.zarr", np.random.default_rng(0).integers(0, 60000, labels.shape).astype(np.uint16))
    image, work = place / "image.zarr", place / "work"
    measure_particles(place / "labels.zarr", place, image=image, spacing=0.01, work=work)
    return place


def page_of(place, **options):
    written = place / "report.html"
    places = {"image": place / "image.zarr", "spacing": 0.01}
    places |= {name: options.pop(name) for name in list(options) if name in places}
    about = About(**{"title": "ore", **options})
    write_report(written, table=place / "particles.parquet", labels=place / "labels.zarr", about=about, **places)
    return Page(written.read_text())


def test_page_says_what_was_found(place):
    run = {"model": {"name": "bundled"}, "timings": {"predict": 12.345678901}, "folds": [0, 1], "mirror": True}
    words = page_of(place, facts=run).words
    for expected in (
        "24 x 26 x 28 voxels (z, y, x) of 10.0 µm: 240 x 260 x 280 µm",
        "D50: half of the volume is finer",
        "touch the edge of the scan",
        "Show outlines",
        "model / name bundled",
        "timings / predict 12.3457",
        "folds 0, 1",
        "mirror yes",
        "Classes of Zingg",
        "The 10 largest particles",
    ):
        assert expected in words, expected


def test_page_needs_nothing_else(place):
    page = page_of(place)
    assert "script" not in page.tags
    assert "link" not in page.tags
    sources = [value for name, value in page.attributes if name in {"src", "href"}]
    assert len(sources) == 6
    assert all(value.startswith("data:image/png;base64,") for value in sources)


@pytest.mark.parametrize("shape", [(300, 300, 2), (2, 300, 300), (24, 26, 28)])
def test_slices_have_true_proportions_and_fit_a_screen(tmp_path, shape):
    place = Location.parse(tmp_path)
    labels = np.zeros(shape, np.uint32)
    labels[:, 5:15, :] = 1
    stored(place / "labels.zarr", labels, chunks=(64, 64, 64))
    measure_particles(place / "labels.zarr", place, spacing=0.01, work=place / "work")
    page = page_of(place, image=None)
    styles = [value for name, value in page.attributes if name == "style" and "aspect-ratio" in value]
    assert len(styles) == 3
    for style in styles:
        found = re.fullmatch(r"aspect-ratio:(\d+)/(\d+);max-width:([\d.]+)px", style)
        width, height, limit = map(float, found.groups())
        assert limit * height / width == pytest.approx(MAX_HEIGHT, rel=0.01)


def test_same_page_every_time(place):
    page_of(place)
    first = (place / "report.html").read_bytes()
    page_of(place)
    assert (place / "report.html").read_bytes() == first


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_from_outside_becomes_markup(place, hostile):
    plain = page_of(place, facts={"a": {"b": "c"}, "d": ["e"]})
    page = page_of(place, title=hostile, facts={hostile: {hostile: hostile}, "d": [hostile]})
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    assert sum(hostile in text for text in page.text) >= 3


@pytest.fixture(scope="module")
def figures(place):
    sample = preview.sample_of(place / "labels.zarr", place / "particles.parquet", 0.01)
    pictures = overlay_pictures(place / "labels.zarr", place / "image.zarr")
    about = About("ore", sample={"id": "A-17", "mass, g": "3"}, facts={"a": {"b": "c"}, "d": ["e"]})
    found = page_figures(sample, pictures, about)
    return lambda: found  # Hypothesis would print them


def put(text, figures):
    """Figures of a template with `text` for every text in them; what is a number, or made by a template, stays."""
    match figures:
        case Markup():
            return figures
        case str():
            return text
        case dict():
            return {key: put(text, value) for key, value in figures.items()}
        case list() | tuple():
            return [put(text, value) for value in figures]
        case Picture():
            return replace(figures, axis=text)
        case _:
            return figures.model_copy(update={"weighting": text}) if hasattr(figures, "weighting") else figures


@given(TEXTS)
@example("<script>alert(1)</script>")
def test_no_value_of_the_page_becomes_markup(figures, text):
    plain = Page(rendered("report.html.jinja", **figures()))
    page = Page(rendered("report.html.jinja", **put(text, figures())))
    assert page.tags == plain.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in plain.attributes]
    assert sum(text in shown for shown in page.text) >= 10
    assert sum(text in value for _, value in page.attributes if value) >= 9


@given(TEXTS, st.booleans())
def test_no_value_of_a_chart_becomes_markup(text, standalone):
    def chart(word):
        curve = Series(word, np.array([1.0, 2.0]), np.array([0.2, 0.9]), [(1.5, 0.5, word)])
        labels = {"x_label": word, "alt": word}
        return Page(
            line_chart([curve], y_label=word, standalone=standalone, **labels)
            + histogram(np.array([0, 3, 1]), np.linspace(0, 1, 4), **labels)
        )

    page, plain = chart(text), chart("plain")
    assert page.tags == plain.tags
    assert "".join(page.text) == "".join(plain.text).replace("plain", text)
    assert page.attributes == [(name, value.replace("plain", text)) for name, value in plain.attributes]


RUN = RunFacts(
    version="1.2.3", model="bundled", digest="abc" * 20, scan_shape=(1, 2, 3), network_shape=(4, 5, 6), zoom="0.714",
    target=20.0, particle_size=0.05, region=None, split=1, left_out={"too small": 1234, "uncertain": 0},
    parameters={"predict": {"quality": "standard"}},
)  # fmt: skip


def test_sample_data_and_method_are_on_the_page(place):
    sample = {"mass, g": "2.5", "operator": "J. Doe", "id": "A-17", "date": "2026-11-30"}
    words = page_of(place, sample=sample, run=RUN).words
    assert words.index("Sample A-17") < words.index("Date 2026-11-30") < words.index("Operator J. Doe")
    assert words.index("Operator J. Doe") < words.index("Mass, g 2.5") < words.index("D50: half of the volume")
    for expected in (
        "found with ps3d 1.2.3 by the method of ParticleSeg3D [1]",
        "of the stated mean diameter, 50.0 µm, spans 20.0 voxels (zoom 0.714)",
        "1 core was split at a neck.",
        "Left out were 1,234 as too small.",
        "Powder Technology 434 (2024) 119286",
    ):
        assert expected in words, expected


@pytest.mark.parametrize("hostile", HOSTILE)
def test_sample_data_are_text_and_nothing_else(place, hostile):
    plain = page_of(place, sample={"id": "b", "x": "c"})
    page = page_of(place, title="ore", sample={"id": hostile, hostile: hostile})
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    assert sum(hostile[1:] in text for text in page.text) == 3
    (head,) = re.findall(r"@top-left { content: (.*?); font", (place / "report.html").read_text())
    assert re.fullmatch(r'"(?:[0-9A-Za-z]|\\[0-9a-f]{6})*"', head)
    said = re.sub(r"\\([0-9a-f]{6})", lambda match: chr(int(match[1], 16)), head[1:-1])
    assert said == f"ore, sample {hostile}"


@pytest.mark.parametrize(("spacing", "unit"), [(0.01, "µm"), (1.0, "mm")])
def test_all_lengths_of_a_page_have_one_unit(place, tmp_path, spacing, unit):
    there = Location.parse(tmp_path)
    measure_particles(place / "labels.zarr", there, spacing=spacing, work=there / "work")
    about, places = About("ore"), {"labels": place / "labels.zarr", "image": None}
    write_report(there / "report.html", table=there / "particles.parquet", spacing=spacing, about=about, **places)
    words = Page((there / "report.html").read_text()).words
    assert f"equivalent diameter, {unit}" in words
    assert set(re.findall(r"\d (µm|mm)(?![³\w])", words)) == {unit}
    # Of the table that all figures are from, every length in it is in mm.
    d50 = re.search(r"([\d.,]+) (?:µm|mm) D50: half", words)[1]
    mm = {"µm": 1e-3, "mm": 1}[unit] * float(d50.replace(",", ""))
    diameters = read_columns(there / "particles.parquet", ["diameter_mm"])["diameter_mm"]
    assert np.quantile(diameters, 0.2) < mm < diameters.max()


def test_a_page_shows_sections_of_others_where_there_are_any(figures):
    loader = jinja2.DictLoader({"composition.html.jinja": "<section>{{ composition.text }}</section>"})
    environment = templating._environment()
    both = environment.overlay(loader=jinja2.ChoiceLoader([loader, environment.loader]))
    page = both.get_template("report.html.jinja").render(figures() | {"composition": {"text": "60 % <quartz>"}})
    assert "60 % <quartz>" in Page(page).words
    assert set(SECTIONS) <= set(figures())


def test_a_value_that_is_missing_is_no_blank(figures):
    with pytest.raises(jinja2.UndefinedError, match="spacing"):
        rendered("report.html.jinja", **{name: value for name, value in figures().items() if name != "spacing"})


def doubted(place, tmp_path):
    """The same particles with confidences, as a segmentation leaves them."""
    table = read_table(place / "particles.parquet")
    n = len(table)
    confidence = np.linspace(0.3, 1, n)
    columns = {"confidence": confidence, "doubts": np.where(confidence < 0.8, "unsure", "")}
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    there = Location.parse(tmp_path)
    write_table([table], there / "particles.parquet", there / "particles.csv")
    return there


def test_the_verdict_comes_first_and_the_worst_particles_are_shown(place, tmp_path):
    there = doubted(place, tmp_path)
    voxels, confidence = (read_columns(there / "particles.parquet", [name])[name] for name in ("voxels", "confidence"))
    evidence = Evidence(dropped_voxels=10, kept_voxels=90, cut=0, particle_size=0.05, spacing=0.01)
    nothing = np.zeros(len(voxels))
    verdict = verdict_on(voxels, confidence, nothing, nothing, evidence)
    options = {"labels": place / "labels.zarr", "image": place / "image.zarr", "spacing": 0.01}
    about = About("ore", verdict=verdict)
    write_report(there / "report.html", table=there / "particles.parquet", about=about, **options)
    page = Page((there / "report.html").read_text())
    words = page.words
    assert words.index("Not understood.") < words.index("D50: half of the volume")
    assert "Only 65 % of the particles are expected to be right." in words
    assert "Show how sure the network is" in words
    assert [f"Particle {label}:" in words for label in range(1, 8)] == [True] * SHOWN + [False]
    assert words.count("unsure") == SHOWN
    plain = Page(page_text(place))
    assert "Show how sure" not in plain.words
    assert "Look at these first" not in plain.words


def page_text(place):
    page_of(place)
    return (place / "report.html").read_text()


def test_without_an_image(place):
    page = page_of(place, image=None)
    assert "every particle filled" in page.words
    assert "Show outlines" not in page.words


def test_without_particles(tmp_path):
    place = Location.parse(tmp_path)
    stored(place / "labels.zarr", np.zeros((4, 5, 6), np.uint32))
    stored(place / "image.zarr", np.zeros((4, 5, 6), np.uint8))
    measure_particles(place / "labels.zarr", place, spacing=0.01, work=place / "work")
    assert "No particle was found" in page_of(place).words


def test_one_tiny_particle(tmp_path):
    place = Location.parse(tmp_path)
    labels = np.zeros((4, 5, 6), np.uint32)
    labels[2, 2, 2] = 1
    stored(place / "labels.zarr", labels)
    measure_particles(place / "labels.zarr", place, spacing=0.01, work=place / "work")
    words = page_of(place, image=None).words
    assert "all were seen whole" in words
    assert "No particle has the 100 voxels" in words
    assert "The 1 largest particles" not in words


def test_noise_does_not_make_the_page_large(tmp_path):
    place = Location.parse(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2**32, (3, 900, 900)).astype(np.uint32)
    stored(place / "labels.zarr", labels, chunks=(3, 900, 900))
    stored(place / "image.zarr", rng.integers(0, 256, labels.shape).astype(np.uint8), chunks=(3, 900, 900))
    few = (labels % 7 == 0).astype(np.uint32)
    stored(place / "few.zarr", few, chunks=(3, 900, 900))
    measure_particles(place / "few.zarr", place, spacing=0.01, work=place / "work")
    page_of(place)
    assert len((place / "report.html").read_bytes()) <= MAX_BYTES


def test_facts_are_flattened_in_order():
    run = {"b": {"y": 1, "x": {"z": None}}, "a": False, "c": 0.1 + 0.2, "d": "x" * 600}
    found = list(fact_lines(run))
    assert found[:4] == [("b / y", "1"), ("b / x / z", "none"), ("a", "no"), ("c", "0.3")]
    assert len(found[4][1]) < 510


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0125, "0.0125"), (0.0123456, "0.0123"), (1.5, "1.50"), (123.4, "123"), (12345.0, "12,345"),
     (1e-9, "1e-09"), (float("nan"), "–")],
)  # fmt: skip
def test_significant(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(("length", "rounded"), [(1.0, 1.0), (1.99, 1.0), (0.3, 0.2), (7.0, 5.0), (0.05, 0.05)])
def test_round_length(length, rounded):
    assert round_length(length) == pytest.approx(rounded)


@pytest.mark.parametrize(("low", "high"), [(0.01, 10), (0.2, 0.5), (0.33, 0.34), (1e-6, 1e6), (99, 101)])
def test_log_ticks(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 10
    assert ticks == sorted(ticks)
    assert all(low * 0.99 <= tick <= high * 1.01 for tick in ticks)


def test_nice_ceiling():
    assert [nice_ceiling(n) for n in (1, 3, 5, 7, 9, 10, 11, 61, 999)] == [1, 4, 6, 8, 10, 10, 20, 80, 1000]


def test_charts_escape_words_and_survive_one_size():
    flat = Series("<b>", np.array([2.0, 2.0]), np.array([0.5, 0.5]), [(2.0, 0.5, "<i>")])
    text = line_chart([flat], x_label="<x>", y_label="<y>", alt='"<alt>')
    page = Page(text)
    assert {"b", "i", "x", "y", "alt"}.isdisjoint(page.tags)
    assert "nan" not in text
    bars = histogram(np.array([0, 3, 1]), np.linspace(0, 1, 4), x_label="<x>", alt="a")
    assert Page(bars).tags.count("rect") == 3
