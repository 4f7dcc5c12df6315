"""Files of meshes: binary STL, binary PLY and GLB (glTF 2.0), of one particle or of any number, in little memory.

Each format has its counts in front, and PLY and GLB keep all of one kind together. So meshes go to spools as they come,
in memory for single particles and on disk for many, and the file is put together from these at the end.

Coordinates are x, y, z in mm in the scanner's frame. Faces are counter-clockwise seen from outside. PLY and GLB carry
the colours that pictures give to labels. STL and PLY have numbers of 24 bits: of a scan of 4,000 voxels they tell a two
thousandth of a voxel apart. GLB keeps each particle about a place of its own, and says where that is.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.meshing.mesh import Mesh
from ps3d_core.particles.overlay import label_colours
from ps3d_core.version import __version__

Spool = Callable[[], BinaryIO]

PIECE: Final = 2**20
MOST_TRIANGLES: Final = 2**32 - 1
"""That an STL can count."""
MOST_VERTICES: Final = 2**31 - 1
"""That faces of a PLY can name."""
MOST_BYTES: Final = 2**32 - 1
"""Of a GLB."""

_TRIANGLE: Final = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX: Final = np.dtype([("at", "<f4", 3), ("colour", "u1", 3), ("label", "<u4")])
_FACE: Final = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


class MeshFile(ABC):
    """Base of what makes a file of meshes: `add` them, then take its `pieces` in order."""

    @abstractmethod
    def add(self, mesh: Mesh) -> None:
        """Take in another particle. Raise `InputError` when the format cannot hold as much."""

    @abstractmethod
    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the whole file, some at a time."""


class StlFile(MeshFile):
    """Binary STL: triangles with their normals, without colours or names."""

    def __init__(self, spool: Spool) -> None:
        self._triangles, self._count = spool(), 0

    def add(self, mesh: Mesh) -> None:
        """Take in another particle. Raise `InputError` beyond 2^32 - 1 triangles."""
        self._count += len(mesh.faces)
        _require(self._count <= MOST_TRIANGLES, "STL of more triangles than it can count")
        corners = mesh.placed[mesh.faces]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        triangles = np.zeros(len(mesh.faces), _TRIANGLE)
        triangles["normal"] = across / np.maximum(np.linalg.norm(across, axis=1), np.finfo(np.float64).tiny)[:, None]
        triangles["corners"] = corners
        self._triangles.write(triangles.tobytes())

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the whole file."""
        yield f"ps3d {__version__}: particles, mm, x y z".encode().ljust(80)[:80]
        yield np.array([self._count], "<u4").tobytes()
        yield from _content(self._triangles)


class PlyFile(MeshFile):
    """Binary PLY: vertices with colour and label, and triangles."""

    def __init__(self, spool: Spool) -> None:
        self._vertices, self._faces = spool(), spool()
        self._counts = [0, 0]

    def add(self, mesh: Mesh) -> None:
        """Take in another particle. Raise `InputError` beyond 2^31 - 1 vertices."""
        first = self._counts[0]
        _require(first + len(mesh.vertices) <= MOST_VERTICES, "PLY of more vertices than its faces can name")
        vertices, faces = np.zeros(len(mesh.vertices), _VERTEX), np.zeros(len(mesh.faces), _FACE)
        vertices["at"], vertices["colour"], vertices["label"] = mesh.placed, _colour(mesh.label), mesh.label
        faces["count"], faces["corners"] = 3, mesh.faces.astype(np.int64) + first
        self._vertices.write(vertices.tobytes())
        self._faces.write(faces.tobytes())
        self._counts = [first + len(vertices), self._counts[1] + len(faces)]

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the whole file."""
        vertices, faces = self._counts
        lines = [
            "ply",
            "format binary_little_endian 1.0",
            f"comment ps3d {__version__}: particles, mm",
            f"element vertex {vertices}",
            *(f"property float {axis}" for axis in "xyz"),
            *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
            "property uint label",
            f"element face {faces}",
            "property list uchar int vertex_indices",
            "end_header",
        ]
        yield ("\n".join(lines) + "\n").encode()
        yield from _content(self._vertices)
        yield from _content(self._faces)


class GlbFile(MeshFile):
    """GLB: a node, a mesh and a material for every particle, named by its label. One unit is 1 mm."""

    def __init__(self, spool: Spool) -> None:
        self._binary, self._bytes, self._count = spool(), 0, 0
        self._lists = {name: spool() for name in ("nodes", "meshes", "materials", "accessors", "bufferViews")}
        self._json_bytes = 0

    def add(self, mesh: Mesh) -> None:
        """Take in another particle. Raise `InputError` beyond 4 GiB."""
        vertices, faces, number = mesh.vertices.astype("<f4"), mesh.faces.astype("<u4"), self._count
        name, colour = str(mesh.label), _linear(_colour(mesh.label))
        self._enter("nodes", name=name, mesh=number, translation=list(mesh.corner), extras={"label": mesh.label})
        primitive = {"attributes": {"POSITION": 2 * number}, "indices": 2 * number + 1, "material": number}
        self._enter("meshes", name=name, primitives=[primitive])
        surface = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.9}
        self._enter("materials", name=name, pbrMetallicRoughness=surface)
        low, high = vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()
        place = {"bufferView": 2 * number, "componentType": 5126, "count": len(vertices), "type": "VEC3"}
        self._enter("accessors", **place, min=low, max=high)
        self._enter("accessors", bufferView=2 * number + 1, componentType=5125, count=faces.size, type="SCALAR")
        for values, target in ((vertices, 34962), (faces, 34963)):
            self._enter("bufferViews", buffer=0, byteOffset=self._bytes, byteLength=values.nbytes, target=target)
            self._binary.write(values.tobytes())
            self._bytes += values.nbytes
        self._count += 1
        _require(self._bytes + self._json_bytes + 16 * self._count + 1024 <= MOST_BYTES, "GLB of more than 4 GiB")

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the whole file."""
        length = sum(map(len, self._json()))
        padding = -length % 4
        total = 12 + 8 + length + padding + 8 + self._bytes
        yield b"glTF" + np.array([2, total, length + padding], "<u4").tobytes() + b"JSON"
        yield from self._json()
        yield b" " * padding
        yield np.array([self._bytes], "<u4").tobytes() + b"BIN\0"
        yield from _content(self._binary)

    def _enter(self, into: str, **values: Any) -> None:
        """Add an entry to one of the lists."""
        text = json.dumps(values, separators=(",", ":")).encode()
        text = text if not self._lists[into].tell() else b"," + text
        self._json_bytes += len(text)
        self._lists[into].write(text)

    def _json(self) -> Iterator[bytes]:
        asset = {"version": "2.0", "generator": f"ps3d {__version__}", "extras": {"unit": "mm", "axes": "x, y, z"}}
        yield f'{{"asset":{json.dumps(asset)},"scene":0,"scenes":[{{"nodes":['.encode()
        for first in range(0, self._count, PIECE // 8):
            numbers = range(first, min(self._count, first + PIECE // 8))
            yield (("," if first else "") + ",".join(map(str, numbers))).encode()
        yield b"]}]"
        for name, spool in self._lists.items():
            yield f',"{name}":['.encode()
            yield from _content(spool)
            yield b"]"
        yield f',"buffers":[{{"byteLength":{self._bytes}}}]}}'.encode()


FORMATS: Final[dict[str, Callable[[Spool], MeshFile]]] = {"stl": StlFile, "ply": PlyFile, "glb": GlbFile}
"""What makes a file of each format, by its ending."""


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise InputError(f"{what}", "choose fewer <labels>", "leave out <bundle>: one file per particle")


def _content(spool: BinaryIO) -> Iterator[bytes]:
    spool.seek(0)
    while piece := spool.read(PIECE):
        yield piece


def _colour(label: int) -> npt.NDArray[np.uint8]:
    return np.asarray(label_colours(np.array([label]))[0])


def _linear(colour: npt.NDArray[np.uint8]) -> list[float]:
    """Colour as light, which glTF wants, from what screens show (sRGB, IEC 61966-2-1)."""
    shown = colour / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    return [round(value, 4) for value in light.tolist()]
