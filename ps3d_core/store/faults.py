"""Which failures pass by themselves, so that the same call may succeed later, and which a user must mend."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ps3d_core.errors import (
    AccessDeniedError,
    CorruptDataError,
    InputError,
    MissingDataError,
    NoSpaceError,
    StoreError,
)

_LASTING = (MissingDataError, CorruptDataError, AccessDeniedError, NoSpaceError)
_OF_A_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EROFS,
}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_PASSING = {
    errno.EAGAIN,
    errno.EIO,
    errno.EPIPE,
    errno.ESTALE,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.ETIMEDOUT,
}


def is_transient(error: BaseException | None) -> bool:
    """Return whether the same call may succeed later: stores and networks that fail for a while."""
    if error is None or isinstance(error, _LASTING):
        return False
    if isinstance(error, StoreError | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def is_of_the_surroundings(error: BaseException | None) -> bool:
    """Return whether the error is one of stores, permissions or room, not of what is worked on.

    Whoever runs this must mend it, or wait.
    """
    if isinstance(error, AccessDeniedError | NoSpaceError | PermissionError):
        return True
    return is_transient(error) or (isinstance(error, OSError) and error.errno in _NO_ROOM)


def unusable_place(error: BaseException) -> InputError | None:
    """Return an `InputError` for a path that the system refuses or a web address that does not answer; else None.

    A path is refused for its permissions, a file among its folders, or a name that is too long. None also for an error
    that does not say which path it is about.
    """
    if type(error).__module__.startswith("aiohttp."):  # which is there only with a store on the web
        return InputError(f"the address cannot be read ({error}); check it, or try again later")
    if not isinstance(error, OSError) or not isinstance(error.filename, str | bytes):
        return None
    path, reason = Path(os.fsdecode(error.filename)), (error.strerror or "cannot be used").lower()
    if error.errno == errno.ENOENT and path.parts[:2] == ("/", "proc"):
        return InputError(f"{path}: the system shows processes there and keeps no files; give another place")
    if error.errno not in _OF_A_PLACE:
        return None
    if error.errno == errno.ENOTDIR:
        file = next((parent for parent in path.parents if parent.is_file()), None)
        if file is not None:
            return InputError(f"{file}: a file, where a folder is needed; give another place")
    return InputError(f"{path}: {reason}; give another place or mend its permissions")
