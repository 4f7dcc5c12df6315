"""What programs that are started from here need to find the modules that are found here."""

from __future__ import annotations

import os
import sys


def module_path() -> str:
    """Return a PYTHONPATH with which another program finds the same modules.

    The folder that Python puts first, that of the program or the current one, is left out: a user's own modules may lie
    there.
    """
    own = sys.path if sys.flags.safe_path else sys.path[1:]
    return os.pathsep.join(dict.fromkeys(filter(None, own)))
