"""The health check of a container: whether a server answers a stranger as it should.

Run as `python -P -m flows.stack.healthy URL [STATUS]`; ends with 0 when the answer has this HTTP status (default: 200).
The S3 server is well when it refuses: 403.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Final

SECONDS: Final = 5.0


def main(url: str, expected: int = HTTPStatus.OK) -> int:
    """0 when `url` answers with the status that is `expected`, else 1."""
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
