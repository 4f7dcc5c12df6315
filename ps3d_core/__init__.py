"""Every particle in a micro-CT scan: the library below the `ps3d` command. It knows nothing of an orchestrator.

    import ps3d_core as ps3d

    result = ps3d.segment("slices/", spacing=0.0125, particle_size=0.3)
    result.labels[...], result.table, result.report()

The names in `__all__` are what is promised to stay; they are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ps3d_core.extras import of_missing
from ps3d_core.version import __version__

if TYPE_CHECKING:
    from ps3d_core.api.inspection import Look, inspect
    from ps3d_core.api.meshes import meshes
    from ps3d_core.api.particles import evaluate, instances, measure
    from ps3d_core.api.report import Report
    from ps3d_core.api.segmentation import Segmentation, segment
    from ps3d_core.errors import InputError, Ps3dError, StoreError
    from ps3d_core.evaluation.metrics import Evaluation
    from ps3d_core.meshing.write import MeshSummary
    from ps3d_core.params import InstancesParams, MeshParams, PredictParams, Resources, SegmentParams, SourceParams
    from ps3d_core.progress import Progress
    from ps3d_core.scan.reader import ScanReader
    from ps3d_core.scan.sources import open_scan

__all__ = [
    "Evaluation",
    "InputError",
    "InstancesParams",
    "Look",
    "MeshParams",
    "MeshSummary",
    "PredictParams",
    "Progress",
    "Ps3dError",
    "Report",
    "Resources",
    "ScanReader",
    "SegmentParams",
    "Segmentation",
    "SourceParams",
    "StoreError",
    "__version__",
    "evaluate",
    "inspect",
    "instances",
    "measure",
    "meshes",
    "open_scan",
    "segment",
]

_ROOMS: Final = {
    "ps3d_core.api.inspection": ("Look", "inspect"),
    "ps3d_core.api.meshes": ("meshes",),
    "ps3d_core.api.particles": ("evaluate", "instances", "measure"),
    "ps3d_core.api.report": ("Report",),
    "ps3d_core.api.segmentation": ("Segmentation", "segment"),
    "ps3d_core.errors": ("InputError", "Ps3dError", "StoreError"),
    "ps3d_core.evaluation.metrics": ("Evaluation",),
    "ps3d_core.meshing.write": ("MeshSummary",),
    "ps3d_core.params": (
        "InstancesParams",
        "MeshParams",
        "PredictParams",
        "Resources",
        "SegmentParams",
        "SourceParams",
    ),
    "ps3d_core.progress": ("Progress",),
    "ps3d_core.scan.reader": ("ScanReader",),
    "ps3d_core.scan.sources": ("open_scan",),
}
_HOMES: Final = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        room = import_module(_HOMES[name])
    except ModuleNotFoundError as error:
        if (lacking := of_missing(error)) is None:
            raise
        raise ModuleNotFoundError(f"ps3d.{name}: {lacking}", name=error.name) from error
    value = globals()[name] = getattr(room, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
