"""Runs and what computes them: recorded, kept to when a run goes on, and no reason to do again what is finished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ps3d_core.errors import InputError
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.network import openvino
from ps3d_core.network.bundle import ModelFacts, save_bundle
from ps3d_core.network.computation import Computation
from ps3d_core.network.normalisation import PerScan
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import run_of, segment
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tests.tiny_network import TINY
from tests.unit.test_openvino import needs_openvino

pytestmark = needs_openvino

ENGINES = ("openvino", "torch")
TEXTS = {engine: Computation(engine=engine).text_here for engine in ENGINES}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results of either engine, each beside the scan and the model."""
    first = tmp_path_factory.mktemp("engines")
    params = PhantomParams(shape=(24, 40, 24), particle_size_voxels=12, seed=5, dtype="uint16")
    write_phantom(params, Location.parse(first / "dataset"), "ore", spacing=0.02)
    torch.manual_seed(0)
    facts = ModelFacts("tiny", TINY, (16, 16, 16), 12, PerScan(), 1)
    save_bundle(first / "model", {0: TINY.build()}, facts)
    places = {}
    for engine in ENGINES:
        places[engine] = first / engine
        for part in ("dataset", "model"):
            shutil.copytree(first / part, places[engine] / part)
        segment(job_in(places[engine], engine))
    return places


def job_in(place: Path, engine: str = "auto") -> SegmentJob:
    predict = PredictParams.model_validate({"quality": "reference", "mirror": False, "device": "cpu", "engine": engine})
    return SegmentJob(
        Dataset(Location.parse(place / "dataset")),
        "ore",
        Location.parse(place / "output"),
        str(place / "model"),
        SegmentParams(predict=predict),
        Resources(workers=1, memory_gib=4),
        keep_work=True,
    )


def computed_by(job: SegmentJob) -> str:
    return str(segment(job).stages["predict"]["computed_by"])


@pytest.fixture
def copied(places: dict[str, Path], request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Result of the engine that the test is given."""
    engine = request.getfixturevalue("engine")
    return Path(shutil.copytree(places[engine], tmp_path / "copied"))


@pytest.fixture
def begun(copied: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the engine that was interrupted while it predicted."""
    shutil.rmtree(copied / "output")
    real, calls = PatchEvaluator._forward, iter(range(100))

    def failing(self: PatchEvaluator, batch: torch.Tensor) -> torch.Tensor:
        if next(calls) == 3:
            raise OSError("pulled the plug")
        return real(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(PatchEvaluator, "_forward", failing)
        with pytest.raises(OSError, match="pulled the plug"):
            segment(job_in(copied, engine))
    return copied


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_finished_stays_and_says_what_computed_it(copied: Path, engine: str) -> None:
    before = segment(job_in(copied, engine))
    assert before.stages["predict"]["computed_by"] == TEXTS[engine]
    assert segment(job_in(copied)) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_another_engine_that_was_asked_for_computes_anew(copied: Path, engine: str) -> None:
    (other,) = set(ENGINES) - {engine}
    assert computed_by(job_in(copied, other)) == TEXTS[other]


@pytest.mark.parametrize("engine", ["openvino"])
def test_what_is_finished_stays_where_the_engine_is_not_installed(
    copied: Path, engine: str, without_openvino: None
) -> None:
    assert computed_by(job_in(copied)) == TEXTS["openvino"]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_run_goes_on_with_its_engine(begun: Path, engine: str) -> None:
    assert computed_by(job_in(begun)) == TEXTS[engine]


@pytest.mark.parametrize("engine", ["openvino"])
def test_an_interrupted_run_begins_anew_where_its_engine_is_not_installed(
    begun: Path, engine: str, without_openvino: None
) -> None:
    assert computed_by(job_in(begun)) == TEXTS["torch"]


@pytest.mark.parametrize("engine", ["torch"])
def test_results_of_earlier_releases_are_known(copied: Path, engine: str) -> None:
    """They have no engine in their fingerprints: folds and mirroring were all that was said."""
    run = run_of(plan_segmentation(job_in(copied)))
    assert run.plan.computation == Computation(engine="torch")
    assert [step.parameters for step in run.steps if step.name == "predict"] == [((0,), False)]


@pytest.mark.parametrize("engine", ["torch"])
def test_a_worker_without_openvino_computes_with_no_other_engine(
    begun: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(replace(plan_segmentation(job_in(begun, engine)), computation=Computation(engine="openvino")))
    assert run.plan.computation.engine == "torch", "what began it"
    shutil.rmtree(begun / "output")
    monkeypatch.setattr(openvino, "require_precision", lambda _: None)
    monkeypatch.setattr(openvino, "_openvino", lambda: (_ for _ in ()).throw(openvino.lacking("openvino")))
    with pytest.raises(InputError, match=r"^openvino is not installed; pip install .*, or choose another engine$"):
        segment(job_in(begun, "openvino"))
