"""Model bundles: what is written is read back, and what is wrong is refused in one line."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import Bundle, ModelFacts, load_bundle, save_bundle
from ps3d_core.network.bundle import _digest as digest_of
from ps3d_core.network.normalisation import PerScan, ZScore
from tests.tiny_network import TINY

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CPU = torch.device("cpu")


def save(folder: Path, networks: dict[int, nn.Module] | None = None, **changes: Any) -> Bundle:
    fields: dict[str, Any] = {
        "name": "tiny",
        "architecture": TINY,
        "patch_size": (8, 8, 8),
        "target_particle_size": 20.0,
        "normalisation": PerScan(),
        "border_thickness": 1.0,
    }
    half_precision = changes.pop("half_precision", False)
    facts = ModelFacts(**(fields | changes))
    return save_bundle(str(folder), networks or {0: TINY.build()}, facts, half_precision=half_precision)


def edit(folder: Path, **changes: Any) -> None:
    """Change bundle.json as an editor would."""
    file = folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_weights_survive_the_round_trip(tmp_path: Path) -> None:
    networks = {0: TINY.build(), 3: TINY.build()}
    saved = save(tmp_path / "b", networks, normalisation=ZScore(mean=5, std=2), accuracy=[{"scan": "a", "f1": 0.9}])
    bundle = load_bundle(str(tmp_path / "b"))
    assert bundle.info == saved.info
    assert bundle.folds == (0, 3)
    x = torch.randn(1, 1, 8, 8, 8)
    for network, loaded in zip(networks.values(), bundle.networks(CPU), strict=True):
        assert not loaded.training
        torch.testing.assert_close(loaded(x), network.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_every_architecture_loads_what_it_saved(tmp_path: Path, network: str, norm: str) -> None:
    architecture = Architecture.model_validate(TINY.model_dump() | {"network": network, "norm": norm})
    built = architecture.build()
    [loaded] = save(tmp_path, {0: built}, architecture=architecture).networks(CPU)
    x = torch.randn(2, 1, 8, 8, 8)
    torch.testing.assert_close(loaded(x), built.eval()(x), rtol=0, atol=0)


def test_networks_are_read_once_per_process(tmp_path: Path) -> None:
    bundle = save(tmp_path)
    first = bundle.networks(CPU)
    (tmp_path / "fold_0.safetensors").unlink()
    assert load_bundle(str(tmp_path)).networks(CPU, [0])[0] is first[0]


def test_half_precision_halves_the_file_and_computes_in_float32(tmp_path: Path) -> None:
    network = TINY.build()
    save(tmp_path / "full", {0: network})
    [loaded] = save(tmp_path / "half", {0: network}, half_precision=True).networks(CPU)
    assert next(loaded.parameters()).dtype == torch.float32
    full, half = ((tmp_path / kind / "fold_0.safetensors").stat().st_size for kind in ("full", "half"))
    assert half < 0.7 * full


def test_digest_covers_what_decides_the_output_only(tmp_path: Path) -> None:
    network = TINY.build()
    known = save(tmp_path / "0", {0: network}).info.digest
    assert save(tmp_path / "1", {0: network}, name="other", accuracy=[{"f1": 0.5}]).info.digest == known
    assert save(tmp_path / "2", {0: network}, target_particle_size=21.0).info.digest != known
    assert save(tmp_path / "3", {0: TINY.build()}).info.digest != known


def test_bundle_pickles_without_weights(tmp_path: Path) -> None:
    bundle = save(tmp_path)
    assert len(pickle.dumps(bundle)) < 20_000
    assert pickle.loads(pickle.dumps(bundle)) == bundle


def test_info_is_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        save(tmp_path).info.name = "other"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"target_particle_size": 30.0}, "digest"),
        ({"target_particle_size": -1}, "target_particle_size"),
        ({"format_version": 2}, "format_version"),
        ({"patch_size": [9, 8, 8]}, "patch_size"),
        ({"weights": {}}, "weights"),
        ({"weights": {"../../evil": "0" * 64}}, "weights"),
        ({"architecture": {"network": "os.system"}}, "architecture"),
        ({"surprise": 1}, "surprise"),
        ({"normalisation": {"kind": "pickle"}}, "normalisation"),
        ({"normalisation": {"kind": "zscore", "mean": 0, "std": 0}}, "normalisation"),
        ({"training": {"x": "y" * 200_000}}, "training"),
    ],
)
def test_an_edited_description_is_refused(tmp_path: Path, changes: dict[str, Any], names: str) -> None:
    save(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        load_bundle(str(tmp_path))
    assert names in one_line(error)


def test_no_bundle_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_bundle(str(tmp_path / "nowhere"))
    assert "nowhere: nothing there" in one_line(error)


def test_a_description_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(InputError):
        load_bundle(str(tmp_path))


def test_a_description_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").mkdir()
    with pytest.raises(InputError) as error:
        load_bundle(str(tmp_path))
    assert "no bundle.json" in one_line(error)


@pytest.mark.parametrize("depth", [400, 100_000])
def test_a_description_that_is_nested_too_deep(tmp_path: Path, depth: int) -> None:
    save(tmp_path, training={"notes": "here"})
    file = tmp_path / "bundle.json"
    file.write_text(file.read_text().replace('"here"', "[" * depth + "]" * depth))
    with pytest.raises(InputError) as error:
        load_bundle(str(tmp_path))
    assert "bundle.json" in one_line(error)


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    bundle = save(tmp_path)
    file = tmp_path / "fold_0.safetensors"
    weights = load_safetensors(file.read_bytes())
    name = min(weights)
    weights[name] = weights[name].to(torch.int8)
    file.write_bytes(save_safetensors(weights))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    described = bundle.info.model_dump(mode="json") | {"weights": {"0": sha256}}
    edit(tmp_path, weights={"0": sha256}, digest=digest_of(described))
    with pytest.raises(InputError) as error:
        load_bundle(str(tmp_path)).networks(CPU)
    assert f"tensor {name} is of type int8; must be like float32" in one_line(error)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    bundle = save(tmp_path)
    file = tmp_path / "fold_0.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(InputError) as error:
        bundle.networks(CPU)
    assert "SHA-256" in one_line(error)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    bundle = save(tmp_path)
    (tmp_path / "fold_0.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"fold_0\.safetensors"):
        bundle.networks(CPU)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    wider = Architecture.model_validate(TINY.model_dump() | {"features_per_stage": (8, 8)})
    with pytest.raises(InputError) as error:
        save(tmp_path, {0: wider.build()}).networks(CPU)
    assert "do not fit the architecture" in one_line(error)


@pytest.mark.parametrize("folds", [[1], [0, 7], []])
def test_unknown_folds_are_refused(tmp_path: Path, folds: list[int]) -> None:
    with pytest.raises(InputError) as error:
        save(tmp_path).networks(CPU, folds)
    assert "folds" in one_line(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"features_per_stage": (4,)},
        {"features_per_stage": (4, 10**6)},
        {"kernel_sizes": ((3, 3, 3), (2, 3, 3))},
        {"n_conv_per_stage_decoder": (1, 1)},
        {"n_stages": 30},
    ],
)
def test_architectures_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Architecture.model_validate(TINY.model_dump() | changes)


def test_saving_what_would_not_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="patch_size"):
        save(tmp_path, patch_size=(8, 8, 7))


@pytest.mark.parametrize("fact", [{"smallest_core": 8}, {"least_certainty": 0.75}, {"greatest_length": 5.0}])
def test_a_bundle_without_newer_facts_is_what_earlier_releases_wrote(tmp_path: Path, fact: dict[str, float]) -> None:
    torch.manual_seed(0)
    network, (name,) = TINY.build(), fact
    without = save(tmp_path / "without", {0: network})
    assert name not in (tmp_path / "without" / "bundle.json").read_text()
    given = save(tmp_path / "given", {0: network}, **fact)
    assert getattr(load_bundle(str(tmp_path / "given")).info, name) == fact[name]
    assert without.info.digest != given.info.digest
