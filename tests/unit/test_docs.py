"""The documentation is sound without the program that makes a site of it: pages, links, commands, code."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from packaging.specifiers import SpecifierSet

import ps3d_core
from docs.build import gather
from docs.generate import PAGES as GENERATED
from docs.generate import ps3d_parsers, reference_parsers
from docs.sources import IMAGES, PAGES, ROOT, anchors, as_page, section, targets
from ps3d_core.errors import InputError
from ps3d_core.params import SegmentParams, SourceParams, TrainParams
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.particles.whole import Cutout
from ps3d_core.store.location import Location

DOCS = ROOT / "docs"
WRITTEN = {f"docs/{file.relative_to(DOCS)}": file.read_text() for file in sorted(DOCS.rglob("*.md"))}
READMES = {path: (ROOT / path).read_text() for path in ("README.md", *PAGES)}
TEXTS = WRITTEN | READMES
PARSERS = ps3d_parsers() | reference_parsers()


class Line(NamedTuple):
    place: str
    text: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every page as the site has it, by its place there."""
    folder = tmp_path_factory.mktemp("site")
    gather(folder)
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*.md"))}


def pages_in(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from pages_in(each)


def code_blocks(text: str) -> Iterator[str]:
    """What stands in fences, and what is indented by four after an empty line."""
    prose = re.sub(r"^```\w*\n(.*?)^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.findall(r"(?<=\n\n)((?:    .*\n|\n)+)", prose):
        yield re.sub(r"^    ", "", block, flags=re.MULTILINE)


def commands() -> list[Line]:
    """Every line of a block that begins with a command of ps3d, with those that it goes on in."""
    found = []
    for place, text in TEXTS.items():
        for block in code_blocks(text):
            whole = block.replace("\\\n", " ")
            found += [
                Line(place, line) for line in map(str.strip, whole.splitlines()) if re.match(r"ps3d(_\w+)?\s", line)
            ]
    return found


def python_blocks() -> list[Line]:
    return [
        Line(place, block)
        for place, text in TEXTS.items()
        for block in code_blocks(text)
        if re.match(r"(import|from) [\w.]+", block) or f"```python\n{block}" in text
    ]


def test_every_page_is_in_the_menu_once_and_the_other_way_round(site: dict[str, str]) -> None:
    menu = list(pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(menu) == sorted(site)


def test_every_readme_of_the_repository_is_in_the_site() -> None:
    folders = ("ps3d_core", "flows", "deployments", "infra")
    found = {str(file.relative_to(ROOT)) for folder in folders for file in (ROOT / folder).rglob("*.md")}
    assert found <= set(PAGES)


@pytest.mark.parametrize("place", TEXTS)
def test_links_lead_to_files_and_headings(place: str) -> None:
    made = {f"docs/{uri}" for uri in GENERATED}
    for target in targets(TEXTS[place], place):
        path, _, anchor = target.partition("#")
        assert path in made or (ROOT / path).exists(), target
        if anchor and path not in made:
            assert anchor in anchors((ROOT / path).read_text()), target


def test_links_of_the_site_stay_in_it(site: dict[str, str]) -> None:
    files = {*site, *IMAGES.values(), *(str(file.relative_to(DOCS)) for file in (DOCS / "figures").iterdir())}
    for uri, text in site.items():
        for target in targets(text, uri):
            path, _, anchor = target.partition("#")
            assert path in files, (uri, target)
            known = anchors(text := site.get(path, "")) | set(re.findall(r"^::: (\S+)", text, re.MULTILINE))
            assert not anchor or anchor in known, (uri, target)


@pytest.mark.parametrize("line", commands(), ids=lambda line: line.text[:50])
def test_commands_exist_with_their_flags(line: Line) -> None:
    words = shlex.split(line.text, comments=True)
    names = (" ".join(words[:count]) for count in (3, 2, 1))
    parser = next((PARSERS[name] for name in names if name in PARSERS), None)
    if parser is None:
        assert words[1] in ("COMMAND", "--help"), line
        return
    flags = {flag.strip("[],").partition("=")[0].partition("/")[0] for flag in words if re.match(r"\[?--?[a-z]", flag)}
    assert flags <= {*parser._option_string_actions, "--help"}, line


def test_commands_are_found() -> None:
    assert len(commands()) > 60


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.place)
def test_python_compiles_and_imports_what_exists(block: Line) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in ("ps3d_core", "ps3d_app"):
            module = import_module(str(node.module))
            assert all(hasattr(module, each.name) for each in node.names)


def test_python_is_found() -> None:
    assert {"README.md", "flows/README.md", "docs/how-to/napari.md"} <= {block.place for block in python_blocks()}


def recipe(name: str, number: int = 0) -> dict[str, Any]:
    """What a block of Python of a recipe defines, the first by default."""
    block = [block.text for block in python_blocks() if block.place == f"docs/develop/{name}.md"][number]
    defined: dict[str, Any] = {"__name__": name}
    exec(compile(block, name, "exec"), defined)
    return defined


def test_the_reader_of_the_recipe_reads(tmp_path: Path) -> None:
    volume = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    np.save(tmp_path / "scan.npy", volume)
    reader_of = recipe("add-reader")["NpyVolume"]
    assert reader_of.reads(Location.parse(tmp_path / "scan.npy"), None)
    assert not reader_of.reads(Location.parse(tmp_path / "scan.npy.gz"), None)
    with reader_of.opened(Location.parse(tmp_path / "scan.npy"), SourceParams()) as reader:
        assert reader.shape == volume.shape
        assert (reader.read(1, 2) == volume[1:]).all()
    (tmp_path / "scan.npy").write_bytes(b"\x93NUMPY\x01\x00 damaged")
    with pytest.raises(InputError, match=r"scan\.npy: no \.npy file"):
        reader_of(Location.parse(tmp_path / "scan.npy"))


def test_the_measure_of_the_recipe_measures() -> None:
    labels = np.zeros((6, 6, 6), np.uint32)
    labels[1:3, 1:4, 1:5] = 1
    labels[4, 4, 1:5] = labels[4, 1:5, 4] = 2
    assert recipe("add-measure")["extent"](block_sums(labels, (0, 0, 0), None)).tolist() == [1.0, 7 / 16]


def test_the_measure_of_whole_particles_of_the_recipe_measures() -> None:
    labels = np.zeros((9, 9, 9), np.uint32)
    labels[2:5, 2:5, 2:5], labels[5, 3, 3] = 1, 2
    ids, low, high = np.array([1, 2], np.uint32), np.array([[2] * 3, [5, 3, 3]]), np.array([[4] * 3, [5, 3, 3]])
    values = recipe("add-measure", 1)["FreeFaces"]().values(Cutout(labels, ids, low, high))
    assert values["free_faces"].tolist() == [53, 5]


def test_the_executor_of_the_recipe_runs() -> None:
    with recipe("add-runner")["executor"](1) as executor:
        assert executor.submit(len, (1, 2)).result() == 2


def test_the_parameter_of_the_recipe_is_the_real_one() -> None:
    told, real = (
        model.model_fields["border_weight"] for model in (recipe("add-parameter")["TrainParams"], TrainParams)
    )
    assert (told.annotation, told.default, told.metadata) == (real.annotation, real.default, real.metadata)
    assert told.description == real.description


def test_every_variable_of_ours_that_code_reads_is_told() -> None:
    internal = {"PS3D_STACK_CHILD", "PS3D_HEARTBEAT"}  # from one process of the stack to another
    code = "".join(
        file.read_text() for folder in ("ps3d_core", "flows", "tasks") for file in (ROOT / folder).rglob("*.py")
    )
    read = set(re.findall(r'"(PS3D_[A-Z0-9_]+)"', code)) - internal
    told = set(re.findall(r"^\| `(PS3D_\w+)` \|", (DOCS / "reference/environment.md").read_text(), re.MULTILINE))
    assert read == told


def test_a_section_ends_where_the_next_one_of_its_rank_begins() -> None:
    text = "# A\n\n## B\n\nb\n\n### C\n\n```\n## no heading\n```\n\n## D\n"
    assert section(text, "b") == "b\n\n### C\n\n```\n## no heading\n```"
    with pytest.raises(LookupError, match="no heading #e"):
        section(text, "e")


def test_links_to_code_become_text_and_others_follow_their_page() -> None:
    text = "[code](../../flows/command/cli.py) [stores](../../ps3d_core/store/README.md#who) [out](https://example.org/a.md)"
    assert as_page(text, "how-to/s3.md") == "code [stores](../rooms/store.md#who) [out](https://example.org/a.md)\n"


def test_generated_pages_say_what_the_code_says() -> None:
    parameters = GENERATED["reference/parameters.md"]()
    assert {f"## {name}" for name in ("Resources", "PredictParams", "SegmentParams")} <= set(parameters.splitlines())
    assert SegmentParams.model_fields.keys() <= set(re.findall(r"^\| `(\w+)`", parameters, re.MULTILINE))
    shown = GENERATED["reference/commands.md"]()
    for name, parser in ps3d_parsers().items():
        (chapter,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", shown, re.MULTILINE | re.DOTALL)
        assert not [
            flag for flag in parser._option_string_actions if flag not in chapter and flag not in ("-h", "--help")
        ]


def test_what_is_cited_is_this_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ps3d_core.__version__
    assert [person["name"] for person in citation["authors"]] == ["The ps3d authors"]
    (paper,) = citation["references"]
    assert (paper["journal"], paper["volume"], paper["start"]) == ("Powder Technology", 434, 119286)


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda form: form.stem
)
def test_forms_ask_each_thing_once(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= content.keys()
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(part["attributes"]["label"] for part in asked)
    assert all(part["attributes"]["options"] for part in asked if part["type"] in ("dropdown", "checkboxes"))


def test_the_workflow_runs_what_a_merge_asks_for() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert commands == {"test": [".ci/run"], "docs": ["make docs"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(
        SpecifierSet(project["requires-python"]).contains(each) for each in jobs["test"]["strategy"]["matrix"]["python"]
    )
