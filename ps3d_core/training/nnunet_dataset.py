"""The folder that nnU-Net reads: where every file of a case lies, and dataset.json.

    Dataset500_NAME/                 Task500_NAME/ for nnU-Net 1
        imagesTr/CASE_0000.nii.gz    grey values on the network grid, normalised, float32
        labelsTr/CASE.nii.gz         0 background, 1 core, 2 border, uint8
        dataset.json                 what nnU-Net has to know
        ps3d.json                    what ps3d has to know; see preparation_record
        labelsTr_instance/CASE.nii.gz    on request: instance labels, uint32
        boxesTr/CASE.json                on request: boxes of particles that the faces of the scan do not cut

The channel is called noNorm, at which nnU-Net leaves grey values as they are: they are normalised already, the way
inference will do it. All headers say the same spacing, since nnU-Net resamples scans whose spacings differ, and the
particles, not the voxels, were brought to one size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ps3d_core.scan.authorship import nifti_is_marked
from ps3d_core.store.location import Location, as_json
from ps3d_core.store.ownership import is_link, is_own, strangers
from ps3d_core.training.preparation_record import FILE, Layout

ENDING: Final = ".nii.gz"
CHANNEL: Final = "noNorm"
CLASSES: Final = ("background", "core", "border")


TRAINING_FILES: Final = re.compile(
    r"(imagesTr|labelsTr|labelsTr_instance)/\.?[^/]+\.nii\.gz(\.lease/\d+\.json|\.[0-9a-f]{32}\.ps3d/.*)?"
    r"|boxesTr/[^/]+\.json|dataset\.json(\.kept-\d+)?|ps3d\.json|\.ps3d(-files)?\.json|\.work/.*|\.lease/\d+\.json"
    r"|(.*/)?\.[^/]+\.[0-9a-f]{32}\.tmp"
)
"""Names below a folder of training data."""


def file_is_own(file: Location) -> bool:
    """Return whether ps3d wrote a file of a case: volumes say so themselves, boxes lie beside them."""
    return file.exists() and (not file.name.endswith(ENDING) or nifti_is_marked(file))


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """Folder of one dataset of nnU-Net below `output`."""

    output: Location
    number: int
    name: str
    layout: Layout

    @property
    def full_name(self) -> str:
        """Name of the folder: DatasetNNN_NAME or TaskNNN_NAME."""
        return f"{self.prefix}{self.name}"

    @property
    def prefix(self) -> str:
        """Beginning of the folder's name, by which nnU-Net tells datasets apart."""
        return f"{'Dataset' if self.layout == 'nnunet-v2' else 'Task'}{self.number:03d}_"

    @property
    def root(self) -> Location:
        """Folder of the dataset itself."""
        return self.output / self.full_name

    @property
    def work(self) -> Location:
        """Folder of what unfinished runs have done so far."""
        return self.root / ".work"

    @property
    def lease(self) -> Location:
        """Folder that says who works on the training data at present."""
        return self.root / ".lease"

    @property
    def record(self) -> Location:
        """Place of ps3d.json."""
        return self.root / FILE

    @property
    def dataset_json(self) -> Location:
        """Place of dataset.json."""
        return self.root / "dataset.json"

    def image(self, case: str) -> Location:
        """Return the file of the grey values of a case."""
        return self.root / "imagesTr" / f"{case}_0000{ENDING}"

    def classes(self, case: str) -> Location:
        """Return the file of the border-core classes of a case."""
        return self.root / "labelsTr" / f"{case}{ENDING}"

    def instances(self, case: str) -> Location:
        """Return the file of the instance labels of a case on the network grid."""
        return self.root / "labelsTr_instance" / f"{case}{ENDING}"

    def boxes(self, case: str) -> Location:
        """Return the file of the boxes of the particles of a case, on the network grid."""
        return self.root / "boxesTr" / f"{case}.json"

    @staticmethod
    def is_own(root: Location) -> bool:
        """Return whether `root` is a folder of training data that ps3d made or began, with nothing else in it."""
        if is_link(root) or not root.is_dir() or strangers(root, TRAINING_FILES):
            return False
        return is_own(root) or (root / FILE).exists() or (root / ".work").is_dir()

    def files(self, case: str) -> tuple[Location, ...]:
        """Return every file that a case may have."""
        return self.image(case), self.classes(case), self.instances(case), self.boxes(case)

    def dataset_text(self, cases: Sequence[str]) -> str:
        """Return the content of dataset.json, which tells nnU-Net of these cases."""
        content = _dataset_json_v2(self, cases) if self.layout == "nnunet-v2" else _dataset_json_v1(self, cases)
        return as_json(content)


def _dataset_json_v2(folder: TrainingFolder, cases: Sequence[str]) -> dict[str, Any]:
    return {
        "name": folder.name,
        "channel_names": {"0": CHANNEL},
        "labels": {name: number for number, name in enumerate(CLASSES)},
        "numTraining": len(cases),
        "file_ending": ENDING,
    }


def _dataset_json_v1(folder: TrainingFolder, cases: Sequence[str]) -> dict[str, Any]:
    # Images are named without the number of their channel here, which nnU-Net 1 adds.
    files = [{"image": f"./imagesTr/{case}{ENDING}", "label": f"./labelsTr/{case}{ENDING}"} for case in cases]
    return {
        "name": folder.full_name,
        "description": "",
        "reference": "",
        "licence": "",
        "release": "",
        "tensorImageSize": "4D",
        "modality": {"0": CHANNEL},
        "labels": {str(number): name for number, name in enumerate(CLASSES)},
        "numTraining": len(cases),
        "numTest": 0,
        "training": files,
        "test": [],
    }
