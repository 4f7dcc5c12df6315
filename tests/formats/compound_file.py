"""A writer of compound files, from Microsoft's description of the format [MS-CFB]: streams in storages, no more.

Sectors have 512 bytes (version 3) or 4096 (version 4). Streams below 4096 bytes are in the mini stream, in sectors of
64 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

FREE, END, FAT, NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
MINI, CUTOFF = 64, 4096
STORAGE, STREAM, ROOT = 1, 2, 5
BLACK = 1


@dataclass
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    children: dict[str, _Entry] = field(default_factory=dict)
    child: int = NONE
    left: int = NONE
    right: int = NONE
    start: int = END


def compound_file(streams: Mapping[str, bytes], sector: int = 512) -> bytes:
    """The bytes of a compound file with `streams` by their paths, like "ImageInfo/ImageWidth"."""
    entries = _entries(streams)
    mini, mini_table = _mini_stream(entries)
    entries[0].data = mini
    content, table = bytearray(), list[int]()

    def add(data: bytes) -> int:
        first = len(table)
        count = -(-len(data) // sector)
        table.extend([*range(first + 1, first + count), END] if count else [])
        content.extend(data.ljust(count * sector, b"\0"))
        return first if count else END

    for entry in entries:
        if entry.kind == STREAM and len(entry.data) >= CUTOFF:
            entry.start = add(entry.data)
    entries[0].start = add(mini)
    mini_start = add(_numbers(mini_table, sector))
    directory = b"".join(_written(entry) for entry in entries)
    directory += _written(_Entry("", 0)) * (-len(entries) % (sector // 128))
    directory_start = add(directory)
    per_sector, fats = sector // 4, 0
    while fats * per_sector < len(table) + fats:
        fats += 1
    places = list(range(len(table), len(table) + fats))
    assert fats <= 109, "larger files need a DIFAT, which is not written"
    content += _numbers([*table, *[FAT] * fats], sector)
    version, shift = (3, 9) if sector == 512 else (4, 12)
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        *(0x3E, version, 0xFFFE, shift, 6),
        *(0 if version == 3 else len(directory) // sector, fats, directory_start, 0, CUTOFF),
        *(mini_start, -(-len(mini_table) * 4 // sector), END, 0),
        places[0],
    ) + struct.pack("<108I", *places[1:], *[FREE] * (109 - len(places)))
    return header.ljust(sector, b"\0") + bytes(content)


def _entries(streams: Mapping[str, bytes]) -> list[_Entry]:
    """The root and all below it, each knowing the numbers of its neighbours."""
    root = _Entry("Root Entry", ROOT)
    for path, data in streams.items():
        *storages, name = path.split("/")
        here = root
        for storage in storages:
            here = here.children.setdefault(storage, _Entry(storage, STORAGE))
        here.children[name] = _Entry(name, STREAM, data)
    entries = [root]

    def number(parent: _Entry) -> None:
        members = sorted(parent.children.values(), key=lambda each: (len(each.name), each.name.upper()))
        first = len(entries)
        entries.extend(members)
        parent.child = _tree(members, first, 0, len(members))
        for member in members:
            number(member)

    number(root)
    return entries


def _tree(members: list[_Entry], first: int, start: int, stop: int) -> int:
    if start == stop:
        return NONE
    middle = (start + stop) // 2
    members[middle].left = _tree(members, first, start, middle)
    members[middle].right = _tree(members, first, middle + 1, stop)
    return first + middle


def _mini_stream(entries: list[_Entry]) -> tuple[bytes, list[int]]:
    content, table = bytearray(), list[int]()
    for entry in entries:
        if entry.kind == STREAM and 0 < len(entry.data) < CUTOFF:
            entry.start, count = len(table), -(-len(entry.data) // MINI)
            table += [*range(entry.start + 1, entry.start + count), END]
            content += entry.data.ljust(count * MINI, b"\0")
    return bytes(content), table


def _numbers(values: list[int], sector: int) -> bytes:
    filled = [*values, *[FREE] * (-len(values) % (sector // 4))]
    return struct.pack(f"<{len(filled)}I", *filled)


def _written(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le")
    length = len(name) + 2 if entry.kind else 0
    start = entry.start if entry.kind in (STREAM, ROOT) else 0
    return struct.pack(
        "<64sHBBIII16x4x8x8xIQ",
        *(name, length, entry.kind, BLACK, entry.left, entry.right, entry.child, start, len(entry.data)),
    )
