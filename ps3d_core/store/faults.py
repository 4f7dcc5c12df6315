"""Which failures pass by themselves, so that the same call may succeed later."""

from __future__ import annotations

import errno

from ps3d_core.errors import AccessDeniedError, CorruptDataError, MissingDataError, NoSpaceError, StoreError

_LASTING = (MissingDataError, CorruptDataError, AccessDeniedError, NoSpaceError)
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
    """True when the same call may succeed later: stores and networks that fail for a while."""
    if error is None or isinstance(error, _LASTING):
        return False
    if isinstance(error, StoreError | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def is_of_the_surroundings(error: BaseException | None) -> bool:
    """True for what whoever runs this must mend, or wait for, whatever is worked on: stores, permissions, room."""
    if isinstance(error, AccessDeniedError | NoSpaceError | PermissionError):
        return True
    return is_transient(error) or (isinstance(error, OSError) and error.errno in _NO_ROOM)
