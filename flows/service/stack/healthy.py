"""The health check of a container: whether a server answers a stranger as it should, or a program comes around.

    python -P -m ps3d_app.flows.service.stack.healthy URL [STATUS]    0 when the answer has this status (default: 200)
    python -P -m ps3d_app.flows.service.stack.healthy FILE [SECONDS]  0 when it is at most so old (default: 60)

The S3 server is well when it refuses: 403. A FILE is a heartbeat of `flows.machine`.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Final

SECONDS: Final = 5.0


def answers(url: str, expected: int = HTTPStatus.OK) -> int:
    """Return 0 when `url` answers with the status that is `expected`, else 1."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    except OSError as error:
        print(f"{url}: {error}")
        return 1
    if found == expected:
        return 0
    print(f"{url}: answers with status {found} instead of {expected}")
    return 1


def beats(file: str, seconds: int = 60) -> int:
    """Return 0 when `file` was touched in the last so many seconds, else 1."""
    try:
        age = time.time() - Path(file).stat().st_mtime
    except OSError as error:
        print(f"{file}: {error}")
        return 1
    if age <= seconds:
        return 0
    print(f"{file}: {age:.0f} s old, the limit is {seconds}")
    return 1


def main(target: str, limit: list[str]) -> int:
    """Check a URL or a heartbeat; return 0 when it is well, else 1."""
    check = answers if target.startswith(("http://", "https://")) else beats
    return check(target, *map(int, limit))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
