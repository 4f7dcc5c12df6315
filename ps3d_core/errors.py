"""The errors this library raises on purpose.

Every error has this family and a builtin as bases, so callers catch either. A message is one line that names the
offending value, the limit it broke and what to change.
"""


class Ps3dError(Exception):
    """Base of every error the library raises deliberately."""


class InputError(Ps3dError, ValueError):
    """Something the user gave (a file, a flag, metadata, a model) cannot be used; the command exits with status 2."""


class StoreError(Ps3dError, OSError):
    """A store could not deliver or take data."""


class MissingDataError(StoreError):
    """A chunk, shard or file that must exist does not; never read as zeros."""


class CorruptDataError(StoreError):
    """A stored chunk does not match its checksum or cannot be decoded."""


class AccessDeniedError(StoreError, PermissionError):
    """A store refuses this account, or was given none."""


class NoSpaceError(StoreError):
    """A store has no room left for what is to be written."""
