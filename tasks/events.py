"""Content of events about an inbox, whoever sends them. Imports nothing of Prefect."""

from __future__ import annotations

from typing import Any

from ps3d_app.tasks.keys import artifact_key


def about(name: str, prefix: str, **payload: Any) -> dict[str, Any]:
    """Return resource, related resources and payload of an event about `name` in the inbox at `prefix`."""
    return {
        "resource": {
            "prefect.resource.id": f"ps3d.scan.{artifact_key(name, '')}",
            "prefect.resource.name": name,
            "ps3d.prefix": prefix,
        },
        "related": [
            {
                "prefect.resource.id": f"ps3d.inbox.{artifact_key(prefix, '')}",
                "prefect.resource.role": "inbox",
                "prefect.resource.name": prefix,
            }
        ],
        "payload": {"prefix": prefix, **payload},
    }
