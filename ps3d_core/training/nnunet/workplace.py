"""The folder that nnU-Net works in, beside the bundle, so that nobody's own nnU-Net folders are touched.

    WORK/raw/DatasetNNN_NAME          the prepared training data, linked or, from an object store, copied
    WORK/preprocessed/PLAN/           as nnU-Net keeps them; one folder per plan
    WORK/results/TRAINING/            checkpoints, nnU-Net's own logs and curves; one folder per kind of training
    WORK/logs/                        what nnU-Net printed
    WORK/validation/TRAINING/         validation cases segmented by the packed model
    WORK/packed/TRAINING/             the bundle before it is published
    WORK/ledger/                      which steps are done, with digests of what they wrote

PLAN and TRAINING are fingerprints of what decides the content. Another number of epochs has another folder: days of
training are never overwritten because an option was mistyped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ps3d_core.network.nnunet.folder import CHECKPOINTS
from ps3d_core.store.location import Location

_OWN: Final = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_n_proc_DA", "nnUNet_def_n_proc")
_REPORTS_HOME: Final = "nnUNet_wandb_enabled"
_ID_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Workplace:
    """Paths below one work folder. Small and picklable."""

    root: Path
    dataset_name: str
    """DatasetNNN_NAME."""
    plan: str
    """Fingerprint of what decides the preprocessed data."""
    training: str
    """Fingerprint of what decides the weights."""

    @property
    def raw(self) -> Path:
        """Folder that nnU-Net knows as nnUNet_raw."""
        return self.root / "raw" / self.plan[:_ID_LENGTH]

    @property
    def dataset(self) -> Path:
        """Folder of the training data as nnU-Net sees it."""
        return self.raw / self.dataset_name

    @property
    def preprocessed(self) -> Path:
        """Folder that nnU-Net knows as nnUNet_preprocessed."""
        return self.root / "preprocessed" / self.plan[:_ID_LENGTH]

    @property
    def preprocessed_dataset(self) -> Location:
        """Folder of the training data as nnU-Net preprocessed it, with its plan."""
        return Location.parse(self.preprocessed) / self.dataset_name

    @property
    def results(self) -> Path:
        """Folder that nnU-Net knows as nnUNet_results."""
        return self.root / "results" / self.training[:_ID_LENGTH]

    @property
    def validation(self) -> Location:
        """Folder of segmented validation cases."""
        return Location.parse(self.root) / "validation" / self.training[:_ID_LENGTH]

    @property
    def packed(self) -> Location:
        """Folder of the bundle until it is published."""
        return Location.parse(self.root) / "packed" / self.training[:_ID_LENGTH]

    @property
    def lease(self) -> Location:
        """Folder that says who works in the work folder at present."""
        return Location.parse(self.root) / ".lease"

    def log(self, step: str) -> Path:
        """Return the file of what nnU-Net prints during a step."""
        return self.root / "logs" / f"{self.training[:_ID_LENGTH]}-{step}.log"

    def model(self, trainer: str, plans_name: str, configuration: str) -> Path:
        """Return the results folder of the model, named by nnU-Net."""
        return self.results / self.dataset_name / f"{trainer}__{plans_name}__{configuration}"

    def environment(self, *, workers: int, augmenters: int) -> dict[str, str]:
        """Return the variables of a process that runs nnU-Net in this work folder.

        `workers` are processes that preprocess, `augmenters` helper processes that prepare patches.
        """
        inherited = {name: value for name, value in os.environ.items() if name not in (*_OWN, _REPORTS_HOME)}
        return inherited | {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_def_n_proc": str(workers),
            "nnUNet_n_proc_DA": str(augmenters),
            "MPLBACKEND": "agg",
            "PYTHONUNBUFFERED": "1",
        }


def final_checkpoint(fold: Path) -> Path:
    """Return the file that nnU-Net writes when it has trained a fold to its end."""
    return fold / CHECKPOINTS[2]["final"]
