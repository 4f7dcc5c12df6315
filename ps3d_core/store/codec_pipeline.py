"""From bytes to voxels and back, in a process that is there for one core.

Zarr hands each compressed chunk to another thread and waits. With one core for both, these threads are in each other's
way, and ten decoded chunks may lie in memory before the first is put where it belongs. Here a chunk goes from its
bytes to its place at once. What is stored is the same. (Zarr 3.3 has a pipeline of this kind, but needs Python 3.12.)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import zarr
from zarr.abc.codec import SupportsSyncCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline


def use_one_core() -> None:
    """Let arrays that this process opens from now on be decoded and encoded in one thread."""
    register_pipeline(OneCorePipeline)
    pipeline = f"{OneCorePipeline.__module__}.{OneCorePipeline.__qualname__}"
    zarr.config.set({"codec_pipeline.path": pipeline, "threading.max_workers": 1})


class OneCorePipeline(BatchedCodecPipeline):
    """Calls codecs one after the other in the thread that has the bytes; codecs that must be awaited are, as ever."""

    async def decode_batch(
        self, chunk_bytes_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Bytes to voxels, chunk by chunk."""
        if not self._can_be_called:
            return await super().decode_batch(chunk_bytes_and_specs)
        return [None if data is None else self._decode(data, spec) for data, spec in chunk_bytes_and_specs]

    async def encode_batch(
        self, chunk_arrays_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        """Voxels to bytes, chunk by chunk."""
        if not self._can_be_called:
            return await super().encode_batch(chunk_arrays_and_specs)
        return [None if data is None else self._encode(data, spec) for data, spec in chunk_arrays_and_specs]

    @cached_property
    def _can_be_called(self) -> bool:
        return all(isinstance(codec, SupportsSyncCodec) for codec in self)

    def _decode(self, data: Any, spec: ArraySpec) -> Any:
        codecs: list[tuple[Any, ArraySpec]] = []
        for codec in self:
            codecs.append((codec, spec))
            spec = codec.resolve_metadata(spec)
        for codec, seen in reversed(codecs):
            data = codec._decode_sync(data, seen)
        return data

    def _encode(self, data: Any, spec: ArraySpec) -> Any:
        codec: Any
        for codec in self:
            data = codec._encode_sync(data, spec)
            spec = codec.resolve_metadata(spec)
        return data
