"""What goes with a result when it leaves the laboratory: sample data, a page that is made anew, RO-Crate metadata."""

import json
import shutil
from hashlib import sha256

import pytest
from rocrate.rocrate import ROCrate

from ps3d_app.flows.command.cli import main
from ps3d_core.crate import FILE, crate_of
from ps3d_core.errors import InputError
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.particles.pdf import find_browser
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import run_of, segment
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.record import read_record
from ps3d_core.remade import remake_report
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location

SCAN = "ore 7"
SAMPLE = {"id": "A-17", "operator": "J. <b>Doe</b>", "licence": "CC-BY-4.0", "mass, g": "2.5"}


def job_in(place):
    return SegmentJob(
        dataset=Dataset(place / "dataset"),
        scan=SCAN,
        output=place / "output",
        params=SegmentParams(predict=PredictParams(quality="fast", device="cpu")),
        resources=Resources(workers=1, memory_gib=4),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = Location.parse(tmp_path_factory.mktemp("pages"))
    params = PhantomParams(shape=(48, 52, 60), particle_size_voxels=20, seed=3, dtype="uint16")
    write_phantom(params, place / "dataset", SCAN, spacing=0.01)
    job = job_in(place)
    job.dataset.sample(SCAN).write_json(SAMPLE)
    segment(job)
    return place


@pytest.fixture
def job(finished, tmp_path):
    """The run, whose dataset and result are put back afterwards: in a copy run.json would name the first place."""
    shutil.copytree(str(finished), tmp_path / "as-it-was")
    yield job_in(finished)
    shutil.rmtree(str(finished))
    shutil.copytree(tmp_path / "as-it-was", str(finished))


@pytest.fixture
def made(job, monkeypatch):
    """Names of the steps that are made from now on."""
    names = []

    def noted(make):
        return lambda step, *args: (names.append(step.name), make(step, *args))[1]

    for step in run_of(plan_segmentation(job)).steps:
        monkeypatch.setattr(type(step), "make", noted(type(step).make))
    return names


def graph_of(result):
    return {each["@id"]: each for each in result.crate.read_json()["@graph"]}


def test_sample_data_are_on_the_page_in_the_record_and_in_the_crate(job):
    record = read_record(job.result.run)
    assert record.sample == SAMPLE
    assert "J. &lt;b&gt;Doe" in job.result.report.read_text()
    graph = graph_of(job.result)
    assert graph["#sample"]["name"] == "A-17"
    assert graph["#operator"]["name"] == SAMPLE["operator"]
    assert graph["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}


def test_other_sample_data_make_the_page_anew_and_nothing_else(job, made):
    before = read_record(job.result.run)
    job.dataset.sample(SCAN).write_json(SAMPLE | {"id": "B-2"})
    after = segment(job)
    assert made == ["report"]
    assert after.fingerprint == before.fingerprint
    assert after.sample["id"] == "B-2"
    assert {name for name in after.parts if after.parts[name] != before.parts[name]} == {"report", "crate"}
    assert segment(job) == after
    assert made == ["report"]


def test_a_page_made_anew_is_the_same_page(job, made):
    page = job.result.report.read_bytes()
    result, record = remake_report(job.result.root)
    assert result.report.read_bytes() == page
    assert record == read_record(job.result.run)
    assert segment(job) == record
    assert made == []


def test_the_command_enters_sample_data_and_segmenting_leaves_the_page_as_it_is(job, made, capsys):
    line = ["report", str(job.result.root), "--sample-id", "C-3", "--field", "customer=Mine"]
    assert main([*line, *(["--pdf"] if find_browser() else [])]) == 0
    assert job.dataset.sample(SCAN).read_json() == {"id": "C-3", "customer": "Mine"}
    page = job.result.report.read_bytes()
    assert b"C-3" in page
    segment(job)
    assert made == []
    assert job.result.report.read_bytes() == page
    assert job.result.pdf.exists() is bool(find_browser())
    capsys.readouterr()
    assert main(["report", str(job.result.root), "--field", "x"]) == 2
    assert job.result.report.read_bytes() == page


def test_without_a_browser_a_note_says_so_and_the_result_is_whole(job, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ps3d_core.particles.pdf._MAC", ())
    assert main(["report", str(job.result.root), "--pdf"]) == 0
    assert "report.pdf: not made: no browser to print with; install chromium" in capsys.readouterr().err
    assert not job.result.pdf.exists()


def test_a_result_without_its_dataset_keeps_its_sample_data(job, capsys):
    job.dataset.root.remove_tree()
    _, record = remake_report(job.result.root)
    assert record.sample == SAMPLE
    assert "every particle filled" in job.result.report.read_text()


def test_a_copy_carries_and_edits_sample_data_of_its_own(job, tmp_path, capsys):
    there = Location.parse(tmp_path / "elsewhere" / SCAN)
    shutil.copytree(str(job.result.root), str(there))
    data, run = job.dataset.sample(SCAN).read_bytes(), job.result.run.read_bytes()
    assert main(["report", str(there), "--sample-id", "Z-9"]) == 0
    assert "a copy, or moved; sample data are its own" in capsys.readouterr().err
    assert read_record(there / "run.json").sample == {"id": "Z-9"}
    assert "Z-9" in (there / "report.html").read_text()
    assert (there / "ro-crate-metadata.json").read_text().count("Z-9")
    assert (job.dataset.sample(SCAN).read_bytes(), job.result.run.read_bytes()) == (data, run)
    job.dataset.sample(SCAN).write_json(SAMPLE | {"id": "B-2"})
    assert remake_report(there)[1].sample == {"id": "Z-9"}
    (tmp_path / "link").symlink_to(str(job.result.root))
    assert remake_report(Location.parse(tmp_path / "link"))[1].sample["id"] == "B-2"


def test_a_damaged_table_is_no_table_to_make_a_page_from(job):
    before = job.result.run.read_bytes()
    job.result.table_parquet.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"particles\.parquet: not as it was written; segment the scan again"):
        remake_report(job.result.root)
    assert job.result.run.read_bytes() == before
    with pytest.raises(InputError, match="a dataset, not a result; segment its scans"):
        remake_report(job.dataset.root)


def test_the_folder_is_a_crate_that_names_every_file(job):
    crate, folder = ROCrate(str(job.result.root)), job.result.root
    assert crate.version == "1.2"
    files = {each.id: each.properties() for each in crate.data_entities}
    there = {name for name in folder.children() if not name.startswith(".")}
    assert {name.rstrip("/") for name in files} == {name.replace(" ", "%20") for name in there} - {FILE}
    for name, said in files.items():
        if said["@type"] == "File" and name != "run.json":
            content = (folder / name).read_bytes()
            assert (said["contentSize"], said["sha256"]) == (str(len(content)), sha256(content).hexdigest())
    labels = files["ore%207.zarr/"]
    assert labels["contentSize"] == str(sum(info["size"] for info in job.result.labels.find().values()))
    run = crate.dereference("#run").properties()
    assert run["startTime"] <= run["endTime"] == read_record(job.result.run).finished
    assert {each["@id"] for each in run["result"]} == set(files)


def test_every_term_and_reference_of_the_crate_is_known(job):
    import rocrate

    context = json.loads((Location.parse(rocrate.__path__[0]) / "data/ro-crate.jsonld").read_text())["@context"]
    graph = graph_of(job.result)
    for entity in graph.values():
        assert set(entity) - {"@id", "@type"} <= set(context)
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    assert set(one) == {"@id"}
                    outside = one["@id"].startswith(("https://w3id.org/ro/", "http://schema.org/"))
                    assert one["@id"] in graph or outside
    assert str(job.dataset.root) not in job.result.crate.read_text()


@pytest.mark.parametrize("mask", ["/home/me/secret/mask.tif", "s3://secret/mask.tif"])
def test_the_crate_tells_parameters_and_no_folders(job, mask):
    record = read_record(job.result.run)
    predict = record.parameters.predict.model_copy(update={"roi": mask})
    parameters = record.parameters.model_copy(update={"predict": predict})
    graph = {each["@id"]: each for each in crate_of(record.model_copy(update={"parameters": parameters}), {})["@graph"]}
    assert graph["#parameter/predict.roi"]["value"] == "mask.tif"
    assert graph["#parameter/predict.quality"]["value"] == "fast"
    assert "secret" not in json.dumps(graph)


@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_a_damaged_crate_is_made_again_and_nothing_else(job, made, damage):
    job.result.crate.remove_tree() if damage == "removed" else job.result.crate.write_text("{}")
    segment(job)
    assert made == []
    assert graph_of(job.result)["#run"]["@type"] == "CreateAction"
    assert (job.result.root / f"{FILE}.kept-1").exists() is (damage == "changed")
