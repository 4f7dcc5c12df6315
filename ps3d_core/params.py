"""Parameters of every stage: frozen, validated once, quoted in run.json."""

from __future__ import annotations

import os
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.blockwise import Runner

GIB = 2**30


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PredictParams(_Params):
    """How the network is applied."""

    folds: tuple[int, ...] | None = Field(default=None, description="folds of the ensemble; all when absent")
    mirror: bool = Field(default=True, description="mean over the 8 mirrorings (test-time augmentation)")
    batch_size: int | None = Field(default=None, ge=1, le=256, description="patches per forward pass")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    target_particle_size: float | None = Field(
        default=None, gt=1, le=512, description="diameter of the mean particle on the network grid, voxels"
    )
    zscore: tuple[float, float] | None = Field(
        default=None, description="mean and standard deviation of grey values, instead of the bundle's normalisation"
    )
    allow_absurd: bool = Field(default=False, description="run even when the particle size makes the cost absurd")


class InstancesParams(_Params):
    """How border-core labels become particles."""

    min_rel_particle_size: float = Field(
        default=0.005, ge=0, le=1, description="particles with fewer voxels than this share of the mean are dropped"
    )


class Resources(_Params):
    """What a run may use. Never part of a fingerprint: results do not depend on it."""

    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=4096)
    memory_gib: float = Field(
        default_factory=lambda: max(1.0, 0.6 * psutil.virtual_memory().available / GIB), gt=0.1, le=65536
    )
    runner: Literal["threads", "processes", "dask"] = "threads"
    dask_scheduler: str | None = None

    @property
    def memory_bytes(self) -> int:
        """Budget in bytes."""
        return int(self.memory_gib * GIB)

    def blocks_runner(self) -> Runner:
        """The runner for stages made of many small blocks."""
        return Runner(kind=self.runner, workers=self.workers, address=self.dask_scheduler)


class SegmentParams(_Params):
    """Everything that decides the result of a segmentation."""

    predict: PredictParams = PredictParams()
    instances: InstancesParams = InstancesParams()
