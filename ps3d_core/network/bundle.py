"""A model bundle: a folder with one JSON file and one safetensors file of weights per fold.

    BUNDLE/bundle.json           what the model is and what it needs; see `BundleInfo`
    BUNDLE/fold_0.safetensors    weights, one file per fold of the ensemble

The JSON says everything that inference must agree on with training, so that nobody has to remember it. Nothing is
unpickled and no code is named: a bundle from a stranger can be wrong, not dangerous. Its digest covers what decides
the output, and nothing else, so that a corrected accuracy table does not make finished runs stale.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from ps3d_core.doubt.calibration import Calibration
from ps3d_core.errors import InputError, MissingDataError, Ps3dError
from ps3d_core.invalid import first_problem
from ps3d_core.network import BUNDLED
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.normalisation import Normalisation
from ps3d_core.quantities import (
    BorderThickness,
    Certainty,
    Fold,
    GreatestLength,
    GreatestNeck,
    ModelName,
    SmallestCore,
    TargetParticleSize,
)
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import is_link, is_own, strangers

INFO_NAME: Final = "bundle.json"
BUNDLE_FILES: Final = re.compile(r"bundle\.json|fold_\d+\.safetensors|\.ps3d\.json|\.[^/]+\.[0-9a-f]{32}\.tmp")
"""Names below a bundle."""

Voxels = Annotated[int, Field(ge=1, le=1024)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fact = str | int | float | bool | None

_MAX_RECORD_BYTES = 100_000


class BundleInfo(BaseModel):
    """Content of bundle.json. Lengths are voxels of the network grid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["ps3d-bundle"] = "ps3d-bundle"
    format_version: Literal[1] = 1
    name: ModelName
    architecture: Architecture
    patch_size: tuple[Voxels, Voxels, Voxels]
    """Network input, (z, y, x) voxels."""
    target_particle_size: TargetParticleSize
    """Mean particle diameter, in voxels, that scans are resampled to."""
    normalisation: Normalisation
    border_thickness: BorderThickness
    """Thickness of the border class in voxels."""
    smallest_core: SmallestCore | None = None
    """Number of voxels from which a core becomes a particle; None for ParticleSeg3D's rule, which goes by depth."""
    least_certainty: Certainty | None = None
    """How probable the classes of a particle's voxels have to be, on average, for it to be kept; None keeps all."""
    greatest_length: GreatestLength | None = None
    """How long a particle may be, in equivalent diameters; None keeps all."""
    greatest_neck: GreatestNeck | None = None
    """How wide a neck is at most at which a core is split, as a share of the narrower part; None splits none."""
    calibration: Calibration | None = None
    """How often a particle is right of which the network is so certain; None where nobody has measured it."""
    training: dict[str, Any] = Field(default_factory=dict)
    """How the model was made: command, seeds, data, time. For people."""
    accuracy: tuple[dict[str, Fact], ...] = ()
    """Measured accuracy, one row per scan or summary. For people."""
    weights: dict[Fold, Sha256]
    """SHA-256 of fold_N.safetensors by fold number N."""
    digest: Sha256
    """SHA-256 of everything above that decides the output."""

    @model_validator(mode="after")
    def _consistent(self) -> BundleInfo:
        if not self.weights:
            raise ValueError("weights lists no fold")
        if any(size % step for size, step in zip(self.patch_size, self.architecture.downsampling, strict=True)):
            raise ValueError(f"patch_size {self.patch_size} is no multiple of {self.architecture.downsampling}")
        if len(json.dumps([self.training, self.accuracy])) > _MAX_RECORD_BYTES:
            raise ValueError(f"training and accuracy exceed {_MAX_RECORD_BYTES} bytes")
        if self.digest != _digest(self.model_dump(mode="json")):
            raise ValueError("digest does not match the content, which was changed after the bundle was saved")
        return self


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a trained model that are checked when it is saved; see `BundleInfo`."""

    name: str
    architecture: Architecture
    patch_size: tuple[int, int, int]
    target_particle_size: float
    normalisation: Normalisation
    border_thickness: float
    smallest_core: int | None = None
    least_certainty: float | None = None
    greatest_length: float | None = None
    greatest_neck: float | None = None
    calibration: Calibration | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Sequence[Mapping[str, Fact]] = ()


class Bundle(BaseModel):
    """An opened bundle: its description and where its weights lie. Small and picklable; holds no weights."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    info: BundleInfo
    location: Location

    @property
    def folds(self) -> tuple[int, ...]:
        """Numbers of the folds in the bundle, ascending."""
        return tuple(sorted(self.info.weights))

    def networks(self, device: torch.device, folds: Sequence[int] | None = None) -> list[nn.Module]:
        """Return the networks of `folds` (default all) on `device`, in evaluation mode; read once per process.

        Raises:
            InputError: for a fold that the bundle does not have, or weights that do not fit its description.
            MissingDataError: when a weights file is not there.

        """
        chosen = self.folds if folds is None else tuple(folds)
        if not chosen or not set(chosen) <= set(self.folds):
            raise InputError(f"folds {list(chosen)}: model {self.info.name} has {list(self.folds)}; choose among them")
        return [_network(self.location, self.info.digest, fold, str(device)) for fold in chosen]


def load_bundle(location: str | Location = BUNDLED) -> Bundle:
    """Open the bundle at a folder or URL, or the one that comes with the project for "bundled".

    Only the description is read; `Bundle.networks` reads the weights.

    Raises:
        InputError: when there is no bundle, or its description is not valid.

    """
    place = _bundled() if location == BUNDLED else Location.parse(location)
    try:
        info = BundleInfo.model_validate((place / INFO_NAME).read_json())
    except (MissingDataError, NotADirectoryError, IsADirectoryError) as error:
        what = f"no {INFO_NAME} in it" if place.exists() else "nothing there"
        raise InputError(
            f"model {place}: {what}; give a bundle's folder, as ps3d train or ps3d model import make it, or `bundled`"
        ) from error
    except RecursionError as error:
        raise InputError(f"model {place}: {INFO_NAME} is nested too deep; get a valid copy of the bundle") from error
    except ValidationError as error:
        raise InputError(f"model {place / INFO_NAME}: {first_problem(error).text}; get a valid copy") from error
    return Bundle(info=info, location=place)


def save_bundle(
    location: str | Location,
    networks: Mapping[int, nn.Module],
    facts: ModelFacts,
    *,
    half_precision: bool = False,
) -> Bundle:
    """Write a bundle of trained `networks`, one per fold number. The description is written last.

    A mapping that makes each network when it is looked up keeps memory at one of them.

    `half_precision` stores float16 (half the size); networks always compute from float32 copies.

    Raises:
        InputError: when the facts contradict each other (see `BundleInfo`).

    """
    place = Location.parse(location)
    fields: dict[str, Any] = {
        "format": "ps3d-bundle",
        "format_version": 1,
        "name": facts.name,
        "architecture": facts.architecture.model_dump(mode="json"),
        "patch_size": list(facts.patch_size),
        "target_particle_size": float(facts.target_particle_size),
        "normalisation": facts.normalisation.model_dump(mode="json"),
        "border_thickness": float(facts.border_thickness),
        "smallest_core": facts.smallest_core,
        "least_certainty": facts.least_certainty,
        "greatest_length": facts.greatest_length,
        "greatest_neck": facts.greatest_neck,
        "calibration": None if facts.calibration is None else facts.calibration.model_dump(mode="json"),
        "training": dict(facts.training),
        "accuracy": [dict(row) for row in facts.accuracy],
    }
    _described(fields, dict.fromkeys(networks, "0" * 64))  # before anything is written
    weights = {}
    for fold in networks:  # one at a time: `networks` may make them when asked
        data = _serialise(networks[fold], half_precision)
        weights[fold] = hashlib.sha256(data).hexdigest()
        (place / _weights_name(fold)).write_bytes(data)
    info = _described(fields, weights)
    (place / INFO_NAME).write_json(_plain(info.model_dump(mode="json")))
    return Bundle(info=info, location=place)


def bundle_is_own(place: Location) -> bool:
    """Return whether a bundle that ps3d made, or began, is at `place`, and nothing else.

    Its weights have to be as they were written.
    """
    if is_link(place) or not place.is_dir() or strangers(place, BUNDLE_FILES):
        return False
    return is_own(place) or bundle_is_whole(place)


def bundle_is_whole(place: Location) -> bool:
    """Return whether a bundle is at `place` whose weights are, byte for byte, those that its description names.

    Reads all of them. False also when nothing is there, or when more than a bundle is.
    """
    try:
        bundle = load_bundle(place)
        weights = {name for name in place.children() if name != INFO_NAME}
        return weights == set(map(_weights_name, bundle.folds)) and all(
            hashlib.sha256((place / _weights_name(fold)).read_bytes()).hexdigest() == sha256
            for fold, sha256 in bundle.info.weights.items()
        )
    except (Ps3dError, OSError):
        return False


def fill(network: nn.Module, weights: Mapping[str, torch.Tensor], what: str, remedy: str) -> None:
    """Give a skeleton its weights, as float32.

    Args:
        network: what `Architecture.skeleton` made.
        weights: all its parameters and buffers by name, and nothing else.
        what: what an error is about.
        remedy: how an error's line ends.

    Raises:
        InputError: for weights of another architecture, and for integers where it has numbers with a fraction.

    """
    expected = dict(network.named_parameters()) | dict(network.named_buffers())
    wrong = sorted(expected.keys() ^ weights.keys())
    wrong += sorted(name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape)
    if wrong:
        first = wrong[0][:100]
        raise InputError(f"{what}: {len(wrong)} tensors do not fit the architecture, first {first}; {remedy}")
    for name, tensor in weights.items():
        if tensor.is_floating_point() != expected[name].is_floating_point():
            kind, wanted = (str(t.dtype).removeprefix("torch.") for t in (tensor, expected[name]))
            raise InputError(f"{what}: tensor {name[:100]} is of type {kind}; must be like {wanted}; {remedy}")
    full = {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}
    network.load_state_dict(full, strict=False, assign=True)


def _described(fields: Mapping[str, Any], weights: Mapping[int, str]) -> BundleInfo:
    whole = {**fields, "weights": {str(fold): sha256 for fold, sha256 in weights.items()}}
    try:
        return BundleInfo.model_validate(whole | {"digest": _digest(whole)})
    except ValidationError as error:
        raise InputError(f"model {fields['name']}: {first_problem(error)}") from error


def record_accuracy(bundle: Bundle, accuracy: Sequence[Mapping[str, Fact]]) -> Bundle:
    """Write another accuracy table into the bundle where it lies; return the new bundle. Its digest stays."""
    return _recorded(bundle, accuracy=[dict(row) for row in accuracy])


def record_training(bundle: Bundle, training: Mapping[str, Any]) -> Bundle:
    """Write another record of how the bundle was made where it lies; return the new bundle. Its digest stays."""
    return _recorded(bundle, training=dict(training))


def record_calibration(bundle: Bundle, calibration: Calibration | None) -> Bundle:
    """Write another calibration, or none, into the bundle where it lies; return the new bundle. Its digest stays."""
    return _recorded(bundle, calibration=None if calibration is None else calibration.model_dump(mode="json"))


def copy_bundle(bundle: Bundle, location: Location) -> Bundle:
    """Copy a bundle to another place, which is made; return the copy."""
    for name in (INFO_NAME, *map(_weights_name, bundle.folds)):
        (location / name).write_bytes((bundle.location / name).read_bytes())
    return load_bundle(str(location))


def _recorded(bundle: Bundle, **fields: Any) -> Bundle:
    info = BundleInfo.model_validate(bundle.info.model_dump(mode="json") | fields)
    (bundle.location / INFO_NAME).write_json(_plain(info.model_dump(mode="json")))
    return Bundle(info=info, location=bundle.location)


def _bundled() -> Location:
    return Location.parse(str(files("ps3d_core.network") / "bundled"))


def _weights_name(fold: int) -> str:
    return f"fold_{fold}.safetensors"


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as earlier releases know them, where they say the same."""
    newer = ("smallest_core", "least_certainty", "greatest_length", "greatest_neck", "calibration")
    return {key: value for key, value in fields.items() if key not in newer or value is not None}


def _digest(fields: Mapping[str, Any]) -> str:
    free = ("name", "calibration", "training", "accuracy", "digest")
    deciding = {key: value for key, value in _plain(fields).items() if key not in free}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _serialise(network: nn.Module, half_precision: bool) -> bytes:
    # named_parameters visits a tensor once, under its first name; state_dict repeats those that modules share.
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    stored = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    if half_precision:
        stored = {name: t.half() if t.is_floating_point() else t for name, t in stored.items()}
    return save_safetensors(stored)


@lru_cache(maxsize=32)
def _network(location: Location, digest: str, fold: int, device: str) -> nn.Module:
    """One fold's network; `digest` is part of the cache's key, since a bundle may be replaced where it lies."""
    bundle = load_bundle(location)
    if bundle.info.digest != digest:
        raise InputError(f"model {location}: it was replaced while in use; start the run again")
    network = bundle.info.architecture.skeleton()
    weights = _read_weights(bundle, fold)
    fill(network, weights, f"model {location}, {_weights_name(fold)}", "save the bundle anew")
    return network.to(device).eval().requires_grad_(False)


def _read_weights(bundle: Bundle, fold: int) -> dict[str, torch.Tensor]:
    file = bundle.location / _weights_name(fold)
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != bundle.info.weights[fold]:
        raise InputError(f"model {file}: its SHA-256 is not the one in {INFO_NAME}; get a valid copy of the bundle")
    try:
        return load_safetensors(data)
    except SafetensorError as error:
        raise InputError(f"model {file}: not readable safetensors ({error}); get a valid copy of the bundle") from error
