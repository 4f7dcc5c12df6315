"""Where a model lies below a folder, and which files of it are needed.

nnU-Net 1 writes TRAINER__PLANS/{plans.pkl, fold_0/model_best.model, fold_0/model_best.model.pkl, ...}, nnU-Net 2
TRAINER__PLANS__CONFIGURATION/{plans.json, dataset.json, fold_0/checkpoint_final.pth, ...}. People give what they
unpacked, which is often a few folders above that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal

from ps3d_core.errors import InputError

Kind = Literal["best", "final"]

# ParticleSeg3D looks for this one in the folder that it is given.
PARTICLESEG3D: Final = "nnUNetTrainerV2_slimDA5_touchV5__nnUNetPlansv2.1"

# In the order in which the version's own inference, or ParticleSeg3D's, prefers them.
CHECKPOINTS: Final[dict[int, dict[Kind, str]]] = {
    1: {"best": "model_best.model", "final": "model_final_checkpoint.model"},
    2: {"final": "checkpoint_final.pth", "best": "checkpoint_best.pth"},
}
_SETTINGS: Final = ("plans.pkl", "plans.json", "dataset.json", "debug.json")
_MAX_DEPTH: Final = 6
_MAX_FOLDERS: Final = 20_000
_NAMED: Final = 5
_FOLD: Final = re.compile(r"fold_(\d{1,2})")
_ALL: Final = ("fold_all", "all")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder that nnU-Net trained a model in."""

    path: Path
    version: Literal[1, 2]
    folds: dict[int, Path]
    """Folders of the folds by number; a model trained on all data is number 0."""

    @property
    def trainer(self) -> str:
        """First part of the folder's name, if it is the name that nnU-Net gave."""
        return self.path.name.partition("__")[0]

    def checkpoints(self, folds: Sequence[int] | None, kind: Kind | None) -> tuple[Kind, dict[int, Path]]:
        """Return a kind of weights that all of `folds` (default all) have, and their files by fold.

        Raises:
            InputError: for a fold or kind that is not there.

        """
        chosen = sorted(self.folds) if folds is None else sorted(set(folds))
        if missing := [fold for fold in chosen if fold not in self.folds]:
            raise InputError(f"fold {missing[0]}: {self.path} has {sorted(self.folds)}; choose among them")
        names = CHECKPOINTS[self.version]
        for candidate, name in names.items():
            files = {fold: self.folds[fold] / name for fold in chosen}
            if kind in (None, candidate) and all(file.is_file() for file in files.values()):
                return candidate, files
        wanted = names[kind] if kind else " and no ".join(names.values())
        raise InputError(
            f"{self.path}: folds {chosen} have no {wanted} in common",
            "choose other folds with <fold>",
            "other weights with <checkpoint>",
        )


def is_needed(path: PurePath) -> bool:
    """Return whether a file of this name can belong to a model, judged by its name alone."""
    weights = {name for names in CHECKPOINTS.values() for name in names.values()}
    return path.name in _SETTINGS or path.name in weights or path.name.removesuffix(".pkl") in weights


def find_model(root: Path) -> ModelFolder:
    """Return the one model in `root` or below; among several, the one that ParticleSeg3D would take.

    Raises:
        InputError: when there is none, or several and none is preferred.

    """
    models = list(_models_below(root))
    if len(models) > 1:
        models = [model for model in models if model.path.name == PARTICLESEG3D] or models
    if len(models) == 1:
        return models[0]
    if not models:
        raise InputError(
            f"{root}: no model of nnU-Net in it; give a folder with plans.json or plans.pkl and fold_0, "
            "or one a few levels above"
        )
    names = [str(model.path.relative_to(root)) for model in models]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise InputError(f"{root}: {len(names)} models, {', '.join(names[:_NAMED])}{more}; give the folder of one")


def _models_below(root: Path) -> Iterator[ModelFolder]:
    for count, (folder, subfolders, _) in enumerate(os.walk(root)):
        if count >= _MAX_FOLDERS:
            raise InputError(f"{root}: more than {_MAX_FOLDERS} folders in it; give the model's own folder")
        path = Path(folder)
        if (model := _model_at(path, subfolders)) is not None:
            yield model
        deep = len(path.relative_to(root).parts) >= _MAX_DEPTH
        subfolders[:] = [] if model or deep else sorted(name for name in subfolders if not name.startswith("."))


def _model_at(path: Path, subfolders: Sequence[str]) -> ModelFolder | None:
    folds = {int(match[1]): path / match[0] for name in subfolders if (match := _FOLD.fullmatch(name))}
    for version in (2, 1):
        if version == 2 and not (path / "plans.json").is_file():
            continue
        trained = {number: folder for number, folder in folds.items() if _has_weights(folder, version)}
        if not trained:
            everything = [path / name for name in _ALL if name in subfolders and _has_weights(path / name, version)]
            trained = dict(enumerate(everything[:1]))
        if trained:
            return ModelFolder(path, 2 if version == 2 else 1, trained)
    return None


def _has_weights(folder: Path, version: int) -> bool:
    return any((folder / name).is_file() for name in CHECKPOINTS[version].values())
