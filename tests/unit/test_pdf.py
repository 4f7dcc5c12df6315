"""A page on paper: printed where a browser is, and a line that says what to install where none is."""

import re
import stat
from time import monotonic

import pytest

from ps3d_core.particles import pdf
from ps3d_core.particles.pdf import NoPdfError, find_browser, print_page
from ps3d_core.store.location import Location

PAGE = "<!doctype html><html><head><title>t</title></head><body><h1>Particles</h1></body></html>"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "report.html").write_text(PAGE)
    return Location.parse(tmp_path)


def browser_that(tmp_path, monkeypatch, script):
    """A program called chromium, the only one on PATH, which does what `script` says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "chromium").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "chromium").chmod((folder / "chromium").stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr(pdf, "_MAC", ())


@pytest.mark.skipif(find_browser() is None, reason="there is no browser to print with")
@pytest.mark.parametrize(("paper", "points"), [("A4", (595, 842)), ("Letter", (612, 792))])
def test_a_page_is_printed_on_the_paper_asked_for(place, paper, points):
    print_page(place / "report.html", place / "report.pdf", paper)
    content = (place / "report.pdf").read_bytes()
    width, height = map(float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content).groups())
    assert (width, height) == pytest.approx(points, abs=1)
    assert (place / "report.html").read_text() == PAGE
    assert sorted(place.children()) == [".ps3d-files.json", "report.html", "report.pdf"]


def test_without_a_browser_one_line_says_what_to_install(place, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pdf, "_MAC", ())
    with pytest.raises(NoPdfError, match=r"^no browser to print with; install chromium, .*$"):
        print_page(place / "report.html", place / "report.pdf")
    assert not (place / "report.pdf").exists()


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo out of luck >&2; exit 3", "did not print .'out of luck'"),
        ("exit 0", "did not print"),
        ('for a; do case "$a" in --print-to-pdf=*) echo no >"${a#*=}";; esac; done', "did not print"),
        ("exec sleep 600", "did not print within 0.5 s"),
        ("sleep 600", "did not print within 0.5 s"),  # a script, as of many distributions, which starts the browser
        ("sleep 600 &", "did not print"),
    ],
)
def test_a_browser_that_fails_or_hangs_leaves_nothing(place, monkeypatch, tmp_path, script, problem):
    browser_that(tmp_path, monkeypatch, script)
    if "within" in problem:
        monkeypatch.setattr(pdf, "SECONDS", 0.5)
    started = monotonic()
    with pytest.raises(NoPdfError, match=problem):
        print_page(place / "report.html", place / "report.pdf")
    assert monotonic() - started < 300  # nobody waits for what sleeps
    assert not (place / "report.pdf").exists()


def test_a_browser_gets_no_network_and_nothing_of_the_user(place, monkeypatch, tmp_path):
    browser_that(tmp_path, monkeypatch, f'echo "$HOME" "$@" >{tmp_path}/said; exit 1')
    with pytest.raises(NoPdfError):
        print_page(place / "report.html", place / "report.pdf")
    said = (tmp_path / "said").read_text()
    assert "--proxy-server=127.0.0.1:9" in said
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in said
    profile = re.search(r"--user-data-dir=(\S+)", said)[1]
    assert "ps3d-print-" in profile
    assert said.startswith(profile.removesuffix("/profile"))
