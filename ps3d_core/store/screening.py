"""What is asked of an array's metadata before a byte of it is decoded.

Types and codecs are those listed here: an array that somebody sends may name any codec that happens to be installed,
and some execute what they read. Shapes and chunks have limits that no scan reaches, so that a number gone wrong is one
line and not all memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Final

import numpy as np
import zarr

from ps3d_core.errors import InputError
from ps3d_core.store.unpacking import COMPRESSORS

MAX_SIDE: Final = 2**20
MAX_VOXELS: Final = 2**44
MAX_CHUNK_BYTES: Final = 2**35
MAX_CHUNKS_IN_SHARD: Final = 2**22

_SAME_SIZE: Final = {"shuffle", "delta", "fixedscaleoffset", "quantize", "astype", "bitround", "packbits"}
_CHECKSUMS: Final = {"crc32", "crc32c", "adler32", "fletcher32"}
_OF_ZARR_3: Final = {"bytes", "transpose", "crc32c", "sharding_indexed"}


def require_usable(array: zarr.Array[Any], name: str) -> None:
    """Raise `InputError` for an array whose type, codecs, shape or chunks are none that are read.

    Looks at metadata only.
    """
    _require_type(array.dtype, name)
    _require_codecs(array, name)
    shape = array.metadata.shape
    if min(shape, default=0) < 1:
        raise InputError(f"{name}: shape {shape}; every axis must have 1 voxel or more; give another array")
    if max(shape) > MAX_SIDE or prod(shape) > MAX_VOXELS:
        raise InputError(
            f"{name}: shape {shape}; the limits are {MAX_SIDE} voxels a side and {MAX_VOXELS} in all; mend the metadata"
        )
    chunks, shards = array.chunks, array.shards
    if 0 in chunks:
        raise InputError(
            f"{name}: metadata of the Zarr cannot be used (chunks of {chunks} voxels); restore or export it again"
        )
    if (size := prod(chunks) * array.dtype.itemsize) > MAX_CHUNK_BYTES:
        raise InputError(
            f"{name}: chunks of {size / 2**30:.0f} GiB, {chunks} voxels; the limit is {MAX_CHUNK_BYTES / 2**30:.0f} "
            "GiB; write the array again in smaller chunks"
        )
    if shards and prod(shards) // prod(chunks) > MAX_CHUNKS_IN_SHARD:
        raise InputError(
            f"{name}: shards of {shards} voxels in chunks of {chunks}: more than {MAX_CHUNKS_IN_SHARD} chunks each; "
            "write the array again in larger chunks"
        )


def _require_type(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(
            f"{name}: voxels of type {dtype}; must be integers or floats of 8 to 64 bits; convert the array"
        )


def _require_codecs(array: zarr.Array[Any], name: str) -> None:
    metadata = array.metadata
    if metadata.zarr_format == 2:
        filters = [str(codec.codec_id) for codec in metadata.filters or ()]
        _refuse_others(filters, _SAME_SIZE | _CHECKSUMS, name)
        _refuse_others([str(codec.codec_id) for codec in (metadata.compressor,) if codec], set(COMPRESSORS), name)
        return
    _require_chain(metadata.to_dict()["codecs"], name)


def _require_chain(codecs: Any, name: str) -> None:
    names = [str(codec["name"]).removeprefix("numcodecs.") for codec in codecs]
    _refuse_others(names, _OF_ZARR_3 | _SAME_SIZE | set(COMPRESSORS), name)
    packing = [codec for codec in names if codec in COMPRESSORS]
    if len(packing) > 1 or (packing and "sharding_indexed" in names):
        raise InputError(
            f"{name}: chunks that were compressed twice ({', '.join(names)}); write the array again with one compressor"
        )
    for codec, configuration in zip(names, (codec.get("configuration", {}) for codec in codecs), strict=True):
        if codec == "sharding_indexed":
            _require_inner(configuration, name)


def _require_inner(configuration: Mapping[str, Any], name: str) -> None:
    _require_chain(configuration["codecs"], name)
    _refuse_others([str(codec["name"]) for codec in configuration["index_codecs"]], {"bytes", "crc32c"}, name)


def _refuse_others(codecs: Iterable[str], known: set[str], name: str) -> None:
    for codec in codecs:
        if codec not in known:
            raise InputError(
                f"{name}: codec {codec!r} is not among those that are read ({', '.join(sorted(known))}); write the "
                "array again with one of them"
            )
