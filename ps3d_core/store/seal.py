"""JSON that shows when it was changed.

A sealed object carries a checksum of its content and of what it is (which file of which stage, say), so that neither a
flipped bit nor a file in the place of another one passes for what was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

SEAL: Final = "checksum"


def sealed(content: Mapping[str, Any], *identity: Any) -> dict[str, Any]:
    """Return `content` as JSON knows it, with a checksum of it and of `identity`, which is not stored."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(content)))
    return {**plain, SEAL: _checksum(plain, identity)}


def unsealed(content: Any, *identity: Any) -> dict[str, Any] | None:
    """Return what was sealed with this `identity`; None when it is not as it was then, or was never sealed."""
    if not isinstance(content, dict):
        return None
    plain = {key: value for key, value in content.items() if key != SEAL}
    return plain if content.get(SEAL) == _checksum(plain, identity) else None


def _checksum(content: Mapping[str, Any], identity: tuple[Any, ...]) -> str:
    text = json.dumps([content, identity], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
