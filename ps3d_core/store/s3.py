"""S3 connections that outlast passing faults: all requests go through one function of the client, which repeats them.

s3fs and botocore bring retries of their own. Nested in one another, they send a request up to 5 x 5 x 9 times. Those of
botocore come out of a budget that is spent after a hundred, so that later faults come through at once; those of s3fs
wait 2 s in all, without jitter, and know only some faults. They are turned off here. An answer counts when its whole
body is there and matches its checksum, so what breaks in the middle of a body is repeated like everything else. Absence
and denial are answers, not faults.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import logging
import os
import random
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import fsspec
from aiobotocore.client import AioBaseClient
from aiobotocore.session import AioSession
from botocore import exceptions as boto
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError
from s3fs import S3FileSystem

from ps3d_core.errors import AccessDeniedError, InputError, NoSpaceError, StoreError

ATTEMPTS: Final = 10
"""How often a request is sent; the waits between come to half a minute on average."""
FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 20.0
GIVE_UP_SECONDS: Final = 300.0
"""A request that has failed for so long is not repeated, however few attempts that were."""
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
WARN_SECONDS: Final = 3.0
"""Of failing, after which somebody who waits should hear of it."""
TIMEOUT_VARIABLE: Final = "PS3D_S3_TIMEOUT"
ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
CONNECTIONS: Final = 32

_FAULTS: Final = (
    boto.ConnectionError,  # no connection, or none within the time
    boto.HTTPClientError,  # closed, silent for too long, broken off
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    ResponseParserError,  # what busy servers send is not always XML
    aiohttp.ClientError,
    ConnectionError,
    TimeoutError,
)
_PASSING_STATUS: Final = {408, 429, 500, 502, 503, 504}
_PASSING_CODES: Final = {
    "BadDigest",  # a body that arrived damaged or cut
    "IncompleteBody",
    "InternalError",
    "MalformedXML",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_WRITING: Final = {"PutObject", "CreateMultipartUpload", "CopyObject"}

logger = logging.getLogger("ps3d.store")


def connect(*, asynchronous: bool, read_seconds: float) -> fsspec.AbstractFileSystem:
    """Return a filesystem for s3://, configured by the standard AWS variables.

    A request fails when the server is silent for `read_seconds`. What fails for a passing reason is repeated, and at
    last raises `StoreError`; `AccessDeniedError` and `NoSpaceError` are raised at once. Raise `InputError` when the
    endpoint is no URL.
    """
    _check_endpoint()
    session = AioSession()
    session.register("creating-client-class.s3", _make_persistent)
    filesystem = _Filesystem(
        asynchronous=asynchronous,
        session=session,
        skip_instance_cache=True,  # fsspec's memory does not know about accounts
        use_listings_cache=False,  # others write too
        max_concurrency=1,  # else every read of a whole object asks for its size first
        config_kwargs={
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": read_seconds,
            "max_pool_connections": CONNECTIONS,
        },
    )
    filesystem.retries = 1
    return filesystem


class _Filesystem(S3FileSystem):  # type: ignore[misc]
    """s3fs, with one request for a question that one can answer, and no faults taken for absence."""

    async def _isfile(self, path: str) -> bool:
        bucket, key, _ = self.split_path(self._strip_protocol(path))
        if not key:
            return False
        try:
            await self._call_s3("head_object", self.kwargs, Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    async def _ls(self, path: str, detail: bool = False, refresh: bool = False, versions: bool = False) -> list[Any]:
        # s3fs looks among all that lies beside a folder that is empty, in case it is a file.
        entries: list[dict[str, Any]] = await self._lsdir(self._strip_protocol(path).rstrip("/"), refresh=refresh)
        if not entries:
            raise FileNotFoundError(path)
        return entries if detail else sorted(entry["name"] for entry in entries)


def read_timeout() -> float:
    """Return the seconds of silence after which a request has failed: PS3D_S3_TIMEOUT, or 60.

    Raise `InputError` when the variable is no number above 0 and up to 3600.
    """
    text = os.environ.get(TIMEOUT_VARIABLE) or str(READ_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise InputError(f"{TIMEOUT_VARIABLE}={text}: must be seconds, above 0 and up to 3600; unset it for 60")
    return seconds


def _check_endpoint() -> None:
    for variable in ENDPOINT_VARIABLES:
        if (text := os.environ.get(variable)) and not _is_endpoint(text):
            raise InputError(f"{variable}={text}: must be the URL of a server, like https://s3.example.org; correct it")


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is none, half a bracket
        return False


class _PersistentClient(AioBaseClient):  # type: ignore[misc]
    """Base of the S3 client that repeats what failed for a passing reason."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Nobody else closes a client of Zarr's loop, and aiohttp complains of connections left open.
        atexit.register(_close, self, asyncio.get_running_loop())

    async def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Any:
        place = _place(api_params)
        started = time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # A copy, because botocore replaces the body by a stream, which can be sent once.
                answer = await super()._make_api_call(operation_name, dict(api_params))
                if operation_name == "GetObject":
                    answer["Body"] = await _Content.of(answer["Body"])
                if operation_name == "DeleteObjects" and answer.get("Errors"):
                    place = _place({**api_params, "Key": answer["Errors"][0].get("Key")})
                    raise _failed_deletion(answer)  # which s3fs takes for success
                return answer
            except NoCredentialsError as error:
                raise AccessDeniedError(
                    f"{place}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                ) from error
            except (ClientError, *_FAULTS) as error:
                if isinstance(error, ClientError) and not _is_passing(error):
                    _raise_lasting(error, place, operation_name)
                    raise  # absence and other answers, which s3fs knows
                seconds = time.monotonic() - started
                if attempt == ATTEMPTS or seconds > GIVE_UP_SECONDS:
                    raise StoreError(
                        f"{place}: {operation_name} failed {attempt} times in {seconds:.0f} s, at last with "
                        f"{_reason(error)}; check AWS_ENDPOINT_URL and the store, then give the same command again"
                    ) from error
                wait = random.uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (attempt - 1)))  # noqa: S311
                reason = _reason(error)
                logger.info("%s: %s: %s; again in %.1f s", place, operation_name, reason, wait)
                if seconds > WARN_SECONDS:
                    logger.warning("%s: the store does not answer as it should (%s); trying again", place, reason)
            await asyncio.sleep(wait)
        raise AssertionError("ATTEMPTS is at least 1")


def _make_persistent(base_classes: list[type], **_: object) -> None:
    base_classes.insert(0, _PersistentClient)


def _close(client: AioBaseClient, loop: asyncio.AbstractEventLoop) -> None:
    if loop.is_running():
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(client.close(), loop).result(timeout=5)


class _Content:
    """Body of an answer that is here already, with the interface of one that is not."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    @classmethod
    async def of(cls, body: Any) -> _Content:
        """Read the whole `body`, which checks its length and checksum."""
        try:
            return cls(await body.read())
        finally:
            body.close()

    async def read(self, size: int | None = None) -> bytes:
        """Return the next `size` bytes, or the rest."""
        return self._stream.read(size)

    def close(self) -> None:
        """Do nothing, as the content is here already and nothing is open."""


def _is_passing(error: ClientError) -> bool:
    return _status(error) in _PASSING_STATUS or _code(error) in _PASSING_CODES


def _failed_deletion(answer: dict[str, Any]) -> ClientError:
    """Return the error for the first object that was not deleted of those to be deleted in one request."""
    error = answer["Errors"][0]
    status = HTTPStatus.FORBIDDEN if error.get("Code") == "AccessDenied" else HTTPStatus.CONFLICT
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "DeleteObjects")


def _raise_lasting(error: ClientError, place: str, operation_name: str) -> None:
    if _code(error) == "NoSuchBucket" and operation_name in _WRITING:
        raise InputError(f"{place}: there is no such bucket; make it, or check the name") from error
    if _status(error) == HTTPStatus.FORBIDDEN:
        raise AccessDeniedError(
            f"{place}: access denied ({_reason(error)}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what this "
            "account may do there"
        ) from error
    if _status(error) == HTTPStatus.INSUFFICIENT_STORAGE:
        raise NoSpaceError(
            f"{place}: no space left ({_reason(error)}); make room there, then give the same command again"
        ) from error


def _place(api_params: dict[str, Any]) -> str:
    key = api_params.get("Key") or api_params.get("Prefix") or ""
    return f"s3://{api_params.get('Bucket', '')}/{key}".rstrip("/")


def _reason(error: Exception) -> str:
    """The error without its URL, which may name more than it should."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    return f"{_status(error)} {_code(error)}"


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
