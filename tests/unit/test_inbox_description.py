"""scan.json comes from strangers: what fits is read, anything else is one line, and no name leads out of the prefix."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.errors import InputError
from ps3d_core.inbox.description import MAX_BYTES, can_name_a_scan, read_description, read_name
from ps3d_core.inbox.layout import Inbox, label_for
from ps3d_core.inbox.reason import LONGEST, plain, reason_of
from ps3d_core.params import SegmentParams
from ps3d_core.store.layout import MAX_NAME
from ps3d_core.store.location import Location

GOOD = {"name": "Ore 2.5µm", "spacing": 0.0125, "particle_size": 0.3}
NASTY = [
    "",
    ".",
    "..",
    "../evil",
    "../../evil",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x1b[31mb",
    "\u202egpj",
    "*",
]
NASTY += ["ore[1]", "wh?t", ".hidden", "ends with a dot.", " ", "a ", "x" * (MAX_NAME + 1), "é" * MAX_NAME, "\ud800"]


def read(**changes):
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return read_description(json.dumps(content).encode(), "scan.json")


def test_what_it_says():
    settings = {"quality": "fast", "mirror": False, "folds": [0], "zscore": [100, 20.5], "min_rel_particle_size": 0.1}
    described = read(slices=1000, model="sand", on_doubt="hold", settings=settings)
    assert (described.name, described.spacing, described.slices, described.model) == ("Ore 2.5µm", 0.0125, 1000, "sand")
    assert described.on_doubt == "hold"
    params = described.settings.applied_to(SegmentParams.model_validate({"predict": {"target_particle_size": 30}}))
    assert params.predict.quality == "fast"
    assert (params.predict.mirror, params.predict.zscore, params.predict.folds) == (False, (100, 20.5), (0,))
    assert params.predict.target_particle_size == 30
    assert params.instances.min_rel_particle_size == 0.1


def test_what_is_measured_is_as_the_inbox_says_but_for_what_the_scan_says():
    own = {"measure": {"columns": "shape", "find_phases": 3, "sizes": {"density": 2.6, "classes": "astm"}}}
    settings = {"phase": ["quartz=90:140", "pyrite=200:255"], "density": {"quartz": 2.65, "pyrite": 5.0}}
    measured = read(settings=settings).settings.applied_to(SegmentParams.model_validate(own)).measure
    assert (measured.columns, measured.find_phases) == ("shape", None)
    assert measured.stated().names == ("quartz", "pyrite")
    assert (measured.sizes.density, measured.sizes.densities["pyrite"], measured.sizes.classes) == (None, 5.0, "astm")
    assert read(settings={"quality": "fast"}).settings.applied_to(SegmentParams.model_validate(own)).measure == (
        SegmentParams.model_validate(own).measure
    )


def test_settings_that_do_not_fit_the_inbox_are_one_line():
    own = SegmentParams.model_validate({"measure": {"phase": ["a=1:2"], "sizes": {"densities": {"a": 2.0}}}})
    with pytest.raises(InputError, match=r"settings: .*phase"):
        read(settings={"phase": ["b=1:2"]}).settings.fitted_to(own)


@pytest.mark.parametrize("settings", [{"columns": "most"}, {"phase": ["quartz=9"]}, {"phase": [], "find_phases": 2}])
def test_measures_that_cannot_be_are_refused(settings):
    with pytest.raises(InputError, match=r"settings|phase|columns"):
        read(settings=settings).settings.applied_to(SegmentParams())


@pytest.mark.parametrize(("spacing", "mm"), [(1, 1), ("12.5um", 0.0125), ("12.5 mm", 12.5), ("12.5µm", 0.0125)])
def test_lengths_may_have_units(spacing, mm):
    described = read(spacing=spacing, particle_size="300um")
    assert (described.spacing, described.particle_size) == (mm, 0.3)


@pytest.mark.parametrize("more", ['"name": "other"', '"settings": {"mirror": true, "mirror": false}'])
def test_what_is_said_twice_is_refused(more):
    content = f"{json.dumps(GOOD)[:-1]}, {more}}}".encode()
    with pytest.raises(InputError, match=r"scan\.json: '(name|mirror)' is given twice; keep the one that is right"):
        read_description(content, "scan.json")


def test_a_byte_order_mark_does_no_harm():
    content = b"\xef\xbb\xbf" + json.dumps(GOOD).encode()
    assert read_description(content, "scan.json").name == read_name(content) == GOOD["name"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"particle_size": None}, "particle_size is missing; add it"),
        ({"spacing": "0.01"}, "spacing '0.01': must be a number of mm, or a text with its unit, like \"12.5um\""),
        ({"spacing": 12.5}, "spacing 12.5: a voxel of 12.5 mm; is 12.5um meant? write the unit: 12.5um or 12.5mm"),
        ({"spacing": 1e-5}, "is 10um meant?"),
        ({"spacing": "12.5 inches"}, "must be a length in mm above 0; give one like 0.0125"),
        ({"spacing": "0,0125mm"}, "decimals are written 0.0125mm"),
        ({"spacing": "2000mm"}, "must be below 1000"),
        ({"particle_size": "300"}, "particle_size '300': must be a number of mm, or a text with its unit"),
        ({"spacing": True}, "spacing True: "),
        ({"spacing": -1}, "spacing -1: must be above 0; give more"),
        ({"spacing": float("nan")}, "spacing nan"),
        ({"particle_size": float("inf")}, "particle_size inf"),
        ({"slices": 1}, "slices 1: "),
        ({"slices": 10.5}, "slices 10.5: "),
        ({"slices": 10**9}, "slices 1000000000: "),
        ({"sclies": 3}, "sclies is not known here"),
        ({"name": 7}, "name 7: "),
        ({"model": "http://evil.example/bundle"}, "model 'http://evil.example/bundle': must be bundled or"),
        ({"model": "../other"}, "model '../other'"),
        ({"on_doubt": "drop"}, "on_doubt 'drop': "),
        ({"settings": {"device": "cuda"}}, "settings.device is not known here"),
        ({"settings": {"allow_absurd": True}}, "settings.allow_absurd is not known here"),
        ({"settings": {"target_particle_size": 9999}}, "target_particle_size"),
        ({"settings": {"zscore": [1, 0]}}, "settings.zscore.1 0"),
        ({"settings": {"folds": []}}, "settings.folds"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, says):
    with pytest.raises(InputError, match=r"^scan\.json: ") as raised:
        read(**changes)
    assert says in str(raised.value)
    assert plain(str(raised.value)) == str(raised.value), "one printable line"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe{}", b"[1, 2]", b"null", b"[" * 30000, b" " * (MAX_BYTES + 1), b'{"name": ' * 5000],
    ids=["empty", "cut", "utf-16", "list", "null", "deep", "large", "deep objects"],
)
def test_what_is_no_description(content):
    with pytest.raises(InputError, match=r"^scan\.json: ") as raised:
        read_description(content, "scan.json")
    assert len(str(raised.value)) < 400
    assert read_name(content) is None


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_are_refused_and_get_a_harmless_label(name):
    assert not can_name_a_scan(name)
    assert_inside(label_for(name))
    if name != "\ud800":
        with pytest.raises(InputError, match=r"^scan\.json: name "):
            read(name=name)


def assert_inside(label: str) -> None:
    for prefix in ("/data/facility", "s3://bucket/facility", "memory://facility"):
        inbox = Inbox(Location.parse(prefix))
        for place in (inbox.result(label).root, inbox.done / label, inbox.failed / label, inbox.lease(label)):
            assert os.path.normpath(place.url.partition("://")[2] or place.url).endswith(label)
            assert place.url == f"{place.parent.url}/{label}"


@given(st.text(max_size=300) | st.lists(st.sampled_from(["..", ".", "/", "\\", "\0", "a", "é", "*"])).map("".join))
def test_no_text_leads_out_of_the_prefix(text):
    label = label_for(text)
    assert_inside(label)
    assert len(label.encode()) <= MAX_NAME
    assert label.isprintable()
    if can_name_a_scan(text):
        assert label == text


@given(st.text(max_size=50), st.text(max_size=50))
def test_labels_of_different_texts_differ(one, other):
    assert (label_for(one) == label_for(other)) == (one == other)


def test_reasons_are_one_line_without_keys(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-key-0123")
    error = RuntimeError("bad\n\x1b[2Jthing s3cr3t-key-0123 at https://me:pw@host/x?X-Amz-Signature=abc, " + "y" * 5000)
    reason = reason_of(error)
    assert reason.startswith("RuntimeError: bad \\x1b[2Jthing *** at https://***@host/x?***, yyy")
    assert len(reason) <= LONGEST
    assert reason_of(InputError("spacing 0: give another")) == "spacing 0: give another"


def test_what_of_the_files_is_read():
    said = {"inside": "/entry/data", "crop": "0:50,,", "every": 2, "nan": "background", "channel": 0}
    described = read_description(json.dumps({"name": "a", "particle_size": 0.3, "source": said}).encode(), "scan.json")
    params = described.as_ingested
    assert (params.spacing, params.overwrite, params.particle_size) == (None, True, 0.3)
    assert {name: getattr(params, name) for name in said} == said
    for wrong, problem in ({"path": "/etc"}, "path"), ({"crop": "1"}, "crop"), ({"every": 0}, "every"):
        with pytest.raises(InputError, match=problem):
            read_description(json.dumps({"name": "a", "particle_size": 0.3, "source": wrong}).encode(), "scan.json")
