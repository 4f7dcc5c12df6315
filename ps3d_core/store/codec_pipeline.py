"""From bytes to voxels and back: never more than a chunk may hold, and in one thread where there is one core.

Whatever is decoded in a process that has this module passes here, the arrays of others too. A chunk that says that it
unpacks to more than its voxels is not unpacked.

Zarr hands each compressed chunk to another thread and waits. With one core for both, these threads are in each other's
way, and ten decoded chunks may lie in memory before the first is put where it belongs. In a process that is there for
one core a chunk goes from its bytes to its place at once. What is stored is the same. (Zarr 3.3 has a pipeline of this
kind, but needs Python 3.12.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import cached_property
from math import prod
from typing import Any, Final

import zarr
from zarr.abc.codec import Codec, SupportsSyncCodec
from zarr.abc.store import ByteGetter
from zarr.codecs import TransposeCodec
from zarr.codecs._v2 import V2Codec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.codec_pipeline import BatchedCodecPipeline, batched
from zarr.core.indexing import SelectorTuple
from zarr.registry import register_pipeline

from ps3d_core.store.unpacking import COMPRESSORS, DAMAGED, unpacked_bytes

WIDEST: Final = 8
"""Bytes of the widest voxel that a filter stores."""
DECODED_BYTES: Final = 2**27
"""Bytes of chunks that are decoded at the same time, unless one has more."""
SPARE: Final = 2**18
"""Bytes more than its voxels that a chunk may unpack to: checksums, and what a size told in blocks is rounded up to."""


def codec_name(codec: Codec) -> str:
    """Return the name of a codec in the metadata, without the prefix that codecs of Zarr 2 bear in Zarr 3."""
    return str(codec.to_dict()["name"]).removeprefix("numcodecs.")


def use_one_core() -> None:
    """Let arrays that this process opens from now on be decoded and encoded in one thread."""
    _use(OneCorePipeline)
    zarr.config.set({"threading.max_workers": 1})


class BoundedPipeline(BatchedCodecPipeline):
    """Zarr's own pipeline, after a look at what the bytes of each chunk unpack to: `ValueError` for too much.

    A read ends when all of it has ended. Zarr raises the first failure and leaves the other chunks to go on, into an
    array that nobody waits for, and with complaints when the process ends before them.
    """

    async def read(
        self,
        batch_info: Iterable[tuple[ByteGetter, ArraySpec, SelectorTuple, SelectorTuple, bool]],
        out: NDBuffer,
        drop_axes: tuple[int, ...] = (),
    ) -> None:
        """Read the chunks into `out`; after a failure begin no other, and raise it when those begun are over."""
        failures: list[Exception] = []
        batch_info = list(batch_info)
        turn = asyncio.Semaphore(_at_once(batch_info[0][1]) if batch_info else 1)

        async def read_some(some: Any) -> None:
            async with turn:
                if failures:
                    return
                try:
                    await self.read_batch(some, out, drop_axes)
                except Exception as error:  # whatever a store or a codec raises
                    failures.append(error)

        await asyncio.gather(*map(read_some, batched(batch_info, self.batch_size)))
        if failures:
            raise failures[0]

    async def decode_batch(
        self, chunk_bytes_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Return the voxels of chunks, decoded from their bytes.

        Raise `ValueError` when a chunk is damaged or says that it unpacks to more than its voxels.
        """
        chunks = list(chunk_bytes_and_specs)
        if self._compressor:
            for data, spec in chunks:
                _require_bounded(self._compressor, data, spec, filtered=self._filtered)
        try:
            return await self._decode_all(chunks)
        except DAMAGED as error:
            raise ValueError(f"{error or type(error).__name__}") from error

    async def _decode_all(self, chunks: list[tuple[Buffer | None, ArraySpec]]) -> Iterable[NDBuffer | None]:
        return await super().decode_batch(chunks)

    @cached_property
    def _compressor(self) -> str | None:
        """The compressor that wrote the bytes last; `screening.py` sees to it that no other lies below."""
        if isinstance(self.array_bytes_codec, V2Codec):
            compressor = self.array_bytes_codec.compressor
            return None if compressor is None else str(compressor.codec_id)
        names = [codec_name(codec) for codec in self.bytes_bytes_codecs]
        return next((name for name in names if name in COMPRESSORS), None)

    @cached_property
    def _filtered(self) -> bool:
        """Whether voxels may have another width where they are compressed than in the array."""
        if isinstance(self.array_bytes_codec, V2Codec):
            return bool(self.array_bytes_codec.filters)
        return any(not isinstance(codec, TransposeCodec) for codec in self.array_array_codecs)


class OneCorePipeline(BoundedPipeline):
    """Pipeline that calls codecs one after the other in the thread that has the bytes.

    Codecs that must be awaited are awaited, as in Zarr's own pipeline.
    """

    async def encode_batch(
        self, chunk_arrays_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        """Return the bytes of chunks, encoded from their voxels chunk by chunk."""
        if not self._can_be_called:
            return await super().encode_batch(chunk_arrays_and_specs)
        return [None if data is None else self._encode(data, spec) for data, spec in chunk_arrays_and_specs]

    async def _decode_all(self, chunks: list[tuple[Buffer | None, ArraySpec]]) -> Iterable[NDBuffer | None]:
        if not self._can_be_called:
            return await super()._decode_all(chunks)
        return [None if data is None else self._decode(data, spec) for data, spec in chunks]

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


def _require_bounded(compressor: str, data: Buffer | None, spec: ArraySpec, *, filtered: bool) -> None:
    if data is None:
        return
    width = WIDEST if filtered else spec.dtype.to_native_dtype().itemsize
    limit = prod(spec.shape) * width + SPARE
    size = unpacked_bytes(compressor, data.as_numpy_array().data.cast("B"), limit)
    if size > limit:
        raise ValueError(f"it says that it unpacks to {size} bytes or more, where {limit} is the most for its voxels")


def _at_once(spec: ArraySpec) -> int:
    """How many chunks are decoded at the same time: fewer where they are large, as each is decoded whole."""
    size = prod(spec.shape) * spec.dtype.to_native_dtype().itemsize
    return max(1, min(int(zarr.config.get("async.concurrency")), DECODED_BYTES // max(size, 1)))


def _use(pipeline: type[BatchedCodecPipeline]) -> None:
    register_pipeline(pipeline)
    zarr.config.set({"codec_pipeline.path": f"{pipeline.__module__}.{pipeline.__qualname__}"})


_use(BoundedPipeline)
