"""From what nnU-Net trained to a bundle: find, read, check, and write all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ps3d_core.errors import InputError
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import (
    BUNDLE_FILES,
    INFO_NAME,
    Bundle,
    ModelFacts,
    bundle_is_own,
    fill,
    load_bundle,
    save_bundle,
)
from ps3d_core.network.nnunet import v1, v2
from ps3d_core.network.nnunet.folder import Kind, ModelFolder, find_model
from ps3d_core.network.nnunet.recipe import Recipe
from ps3d_core.network.nnunet.source import local_folder
from ps3d_core.network.normalisation import Normalisation, PerScan, ZScore
from ps3d_core.params import ImportParams
from ps3d_core.store.claim import Output, claimed
from ps3d_core.store.location import Location
from ps3d_core.store.staging import all_or_nothing


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A new bundle, and what to tell its owner."""

    bundle: Bundle
    assumed: tuple[str, ...]
    """What neither the folder nor the user said, with the option that says it."""
    remarks: tuple[str, ...]


def import_model(
    source: str, target: Location, params: ImportParams | None = None, *, overwrite: bool = False
) -> ImportedModel:
    """Make a bundle at `target` of the nnU-Net model at `source`.

    Args:
        source: results folder of nnU-Net 1 or 2, a folder above it, a zip or tar of either, or a URL of any of these.
        target: where the bundle is to be; complete when this returns, untouched when it raises.
        params: what the folder does not say.
        overwrite: replace a bundle at `target`.

    Raises:
        InputError: for a source that cannot be used, or a target that is taken.
        StoreError: when a store does not deliver or take data.

    """
    params = params or ImportParams()
    output = Output(target, bundle_is_own)
    with (
        claimed("model import", [output], inputs=[Location.parse(source)]),
        local_folder(source, params.sha256) as root,
    ):
        check_target(target, overwrite)
        folder = find_model(root)
        kind, checkpoints = folder.checkpoints(params.folds, params.checkpoint)
        recipe = _recipe(folder, next(iter(checkpoints.values())), params.configuration)
        assumed = _assumed(recipe, params)
        with all_or_nothing(output, known=BUNDLE_FILES) as place:
            save_bundle(
                place,
                _Networks(folder, recipe, checkpoints),
                ModelFacts(
                    name=params.name or _name(folder, root, source),
                    architecture=recipe.architecture,
                    patch_size=recipe.patch_size,
                    target_particle_size=params.target_particle_size,
                    normalisation=_normalisation(recipe, params),
                    border_thickness=params.border_thickness,
                    training=_record(recipe, kind, assumed, source, params),
                ),
                half_precision=params.half_precision,
            )
    return ImportedModel(load_bundle(target), assumed, recipe.remarks)


def check_target(target: Location, overwrite: bool) -> None:
    """Raise `InputError` when something lies at `target` that is not to be replaced by a bundle."""
    if not target.exists() or (target.is_dir() and not target.children()):
        return
    if not (target / INFO_NAME).exists():
        raise InputError(f"{target}: holds something else than a model; give a folder that is empty or not there yet")
    if not overwrite:
        raise InputError(f"{target}: already a model", "give another folder", "replace it with <overwrite>")


class _Networks(Mapping[int, nn.Module]):
    """The networks by fold, each read when it is asked for."""

    def __init__(self, folder: ModelFolder, recipe: Recipe, checkpoints: Mapping[int, Path]) -> None:
        self._folder = folder
        self._recipe = recipe
        self._checkpoints = checkpoints

    def __getitem__(self, fold: int) -> nn.Module:
        file, architecture = self._checkpoints[fold], self._recipe.architecture
        if self._folder.version == 2:
            weights = v2.read_weights(file, architecture)
        else:
            own, weights = v1.convert(v1.read_weights(file), self._recipe.trainer, str(file))
            _check_same(own, architecture, file)
        network = architecture.skeleton()
        fill(network, weights, str(file), "get a valid copy of the model")
        return network

    def __iter__(self) -> Iterator[int]:
        return iter(self._checkpoints)

    def __len__(self) -> int:
        return len(self._checkpoints)


def _check_same(own: Architecture, first: Architecture, file: Path) -> None:
    if own != first:
        raise InputError(f"{file}: its network is not that of the first fold", "choose others with <fold>")


def _recipe(folder: ModelFolder, checkpoint: Path, configuration: str | None) -> Recipe:
    if folder.version == 2:
        return v2.read_recipe(folder, checkpoint, configuration)
    if configuration is not None:
        raise InputError(f"configuration {configuration}: plans of nnU-Net 1 have none; leave it out")
    return v1.read_recipe(folder, checkpoint)


def _normalisation(recipe: Recipe, params: ImportParams) -> Normalisation:
    if params.normalisation is not None:
        return params.normalisation
    if params.zscore is not None:
        return ZScore(mean=params.zscore[0], std=params.zscore[1])
    if params.per_scan:
        return PerScan(method="mean-std", low=None, high=None)
    if recipe.normalisation is None:
        raise InputError(
            recipe.doubt, "give mean and standard deviation as <zscore>", "measure each scan with <per_scan>"
        )
    return recipe.normalisation


def _assumed(recipe: Recipe, params: ImportParams) -> tuple[str, ...]:
    said = params.model_fields_set
    assumed = []
    if "target_particle_size" not in said:
        assumed.append(f"particles of {params.target_particle_size:g} voxels in training")
    if "border_thickness" not in said:
        assumed.append(f"borders of {params.border_thickness:g} voxels in training")
    if recipe.doubt and not (params.zscore or params.per_scan or params.normalisation):
        assumed.append(recipe.doubt)
    return tuple(assumed)


def _name(folder: ModelFolder, root: Path, source: str) -> str:
    """The name of the model's folder, after the task's or dataset's when that lies above it."""
    own, above = folder.path.name, folder.path.parent.name
    if folder.path == root:
        own, above = _last_part(source), Location.parse(source).parent.name
    return f"{above}, {own}"[:200] if above.startswith(("Task", "Dataset")) else own[:200]


def _record(recipe: Recipe, kind: Kind, assumed: tuple[str, ...], source: str, params: ImportParams) -> dict[str, Any]:
    """For people: where the bundle comes from."""
    archive = {"sha256": params.sha256.lower()} if params.sha256 else {}
    return {
        "imported from": _last_part(source),
        **archive,
        **recipe.facts,
        "trainer": recipe.trainer,
        "checkpoint": kind,
        "assumed": list(assumed),
    }


def _last_part(source: str) -> str:
    """Return the last part of a path or URL.

    A bundle may be published: no folders of the machine, no keys of a query.
    """
    return Location.parse(source.partition("?")[0]).name or "model"
