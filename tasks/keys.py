"""Artifact keys: Prefect takes lowercase letters, digits and dashes only, scans have any name."""

from __future__ import annotations

import hashlib
import re

READABLE = 40


def artifact_key(scan: str, kind: str) -> str:
    """Return the key of the artifact of this `kind` for a scan; scans of different names have different keys."""
    digest = hashlib.sha256(scan.encode()).hexdigest()[:8]
    return "-".join(part for part in (_slug(scan)[:READABLE].strip("-"), digest, _slug(kind)) if part)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
