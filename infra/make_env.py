"""Make infra/.env, which only its owner can read, of env.example, with a new secret in every empty place.

Needs nothing but Python: `python3 infra/make_env.py`. A file that is there already stays: the secrets in it are those
of the data.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(folder: Path = FOLDER) -> int:
    """Write `folder`/.env; status 2 when it exists."""
    made = folder / ".env"
    filled = re.sub(
        r"^(\w+)=$", lambda line: line[0] + secrets.token_hex(24), (FOLDER / "env.example").read_text(), flags=re.M
    )
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(filled)
    except FileExistsError:
        print(f"{made}: exists and is kept; compare it with env.example, or remove it", file=sys.stderr)
        return 2
    print(f"{made}: written; only you can read it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
