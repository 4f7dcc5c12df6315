"""What tells a file or a folder from every other one: how many objects, how many bytes, and a digest of all.

The digest is SHA-256 over name, size and MD5 of every object, sorted by name; a file is a tree of one object. So an
object that is gone, altered, in another's place, or not meant to be there makes a difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple


class ObjectDigest(NamedTuple):
    """One object: its size in bytes and the MD5 of its content, 32 hexadecimal digits."""

    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Digest:
    """Number of objects, bytes and digest of a file, or of a folder with all objects below it."""

    objects: int
    bytes: int
    digest: str

    @classmethod
    def of_objects(cls, objects: Mapping[str, ObjectDigest]) -> Digest:
        """Return the digest of a tree, given its objects by relative name."""
        lines = (f"{name}\0{size}\0{md5}\n" for name, (size, md5) in sorted(objects.items()))
        whole = hashlib.sha256("".join(lines).encode()).hexdigest()
        return cls(len(objects), sum(size for size, _ in objects.values()), whole)

    @classmethod
    def of_object(cls, size: int, md5: str) -> Digest:
        """Return the digest of a single file, given its size in bytes and the MD5 of its content in hexadecimal."""
        return cls.of_objects({"": ObjectDigest(size, md5)})

    @classmethod
    def of_content(cls, data: Any) -> Digest:
        """Return the digest of a single file with the content `data`, bytes or a buffer of them."""
        view = memoryview(data).cast("B")
        return cls.of_object(len(view), hashlib.md5(view, usedforsecurity=False).hexdigest())


GONE: Final = Digest(0, 0, "")
"""Stands for what was written once and is known to be no more: nothing has this digest."""
