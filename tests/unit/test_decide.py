"""What a trained network takes for a particle is decided on phantoms of its training families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ps3d_core.network.bundle import ModelFacts, load_bundle, save_bundle
from ps3d_core.store.location import Location
from ps3d_core.training import decide, validate
from ps3d_core.training.decide import Decision
from ps3d_core.training.validate import DEM, HELD_OUT
from tests.tiny_network import TINY

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_odds_of_cores_are_weighed() -> None:
    torch.manual_seed(0)
    network = TINY.build().eval()
    patch = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        before, after = (each(patch).softmax(1) for each in (network, decide.weighing_cores(network, 0.5)))
    weighed = before * torch.tensor([1, 0.5, 1]).reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(after, weighed / weighed.sum(1, keepdim=True))


def test_a_decision_is_told_and_keeps_the_rest(tmp_path: Path) -> None:
    bundled = load_bundle()
    decided = decide.write_decided(bundled, Location.parse(tmp_path), Decision(0.5, 0.7, 0.4), {"scores": []})
    assert (decided.info.least_certainty, decided.info.greatest_neck) == (0.7, 0.4)
    assert decided.info.smallest_core == bundled.info.smallest_core
    assert decided.info.architecture == bundled.info.architecture
    assert decided.info.training["decided"] == {"core_weight": 0.5, "scores": [], "began_with": bundled.info.digest}
    assert load_bundle(str(tmp_path)).info.digest != bundled.info.digest


def test_every_network_of_an_ensemble_is_weighed(tmp_path: Path) -> None:
    bundled = load_bundle()
    (network,) = bundled.networks(torch.device("cpu"))
    names = ("name", "architecture", "patch_size", "target_particle_size", "normalisation", "border_thickness")
    facts = ModelFacts(**{name: getattr(bundled.info, name) for name in names})
    ensemble = save_bundle(str(tmp_path / "ensemble"), {0: network, 3: network}, facts, half_precision=True)
    decided = decide.write_decided(ensemble, Location.parse(tmp_path / "decided"), Decision(0.5, 0.7, 0.4))
    assert decided.folds == (0, 3)
    assert set(decided.info.weights.values()).isdisjoint(ensemble.info.weights.values())


@pytest.mark.parametrize("wrong", [["--scans", "0"], ["--threads", "-1"], ["--scans", "many"]])
@pytest.mark.parametrize("main", [decide.main, validate.main])
def test_wrong_numbers_are_one_line(
    main: Callable[[list[str]], None], wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ["--model", "bundled", "--out", "nowhere"] if main is decide.main else []
    with pytest.raises(SystemExit) as ended:
        main([*needed, *wrong])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {wrong[0]}: {wrong[1]!r}: must be a whole number, at least 1" in last


def test_the_best_decision_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = replace(decide.SCANS[3], shape=(28, 28, 28), particle_size=12.0)
    monkeypatch.setattr(decide, "SCANS", (scan,))
    monkeypatch.setattr(decide, "CORE_WEIGHTS", (1.0, 0.02))
    monkeypatch.setattr(decide, "CERTAINTIES", (0.5, 0.999))
    monkeypatch.setattr(decide, "NECKS", (0.0, decide.FIRST_NECK))
    decide.main(["--model", "bundled", "--out", str(tmp_path / "model"), "--threads", "1"])
    told = load_bundle(str(tmp_path / "model")).info.training["decided"]
    best = max(told["scores"], key=lambda row: row[3] + row[4])
    info = load_bundle(str(tmp_path / "model")).info
    assert [told["core_weight"], info.least_certainty, info.greatest_neck] == best[:3]
    assert len(told["scores"]) == 2 * 2 + 1
    assert best[3] > 0.5


def test_held_out_phantoms_have_no_say() -> None:
    assert {scan.seed for scan in decide.SCANS}.isdisjoint(scan.seed for scan in (*HELD_OUT, *DEM))
    assert {scan.family for scan in decide.SCANS} == {"training", "wide"}
