"""Files on web servers, to read only: one request for each part of a file, and every answer is checked.

A web server lists no folders, and what it answers may be anything: a page instead of a file, all of a file where a part
was asked for, a part of a newer file. fsspec, whose client this is, takes most of that for data. Faults that pass are
repeated; what stays is one line.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import logging
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar

import aiohttp
import fsspec.asyn
from fsspec.implementations.http import HTTPFileSystem
from fsspec.spec import AbstractBufferedFile

from ps3d_core.errors import AccessDeniedError, CorruptDataError, InputError, StoreError
from ps3d_core.printable import without_keys

ATTEMPTS: Final = 4
FIRST_WAIT_SECONDS: Final = 0.25
CONNECT_SECONDS: Final = 10.0
MOST_BYTES: Final = 2**32
"""Of a file that is read as a whole: no chunk may be larger."""
BLOCK: Final = 2**22
_PIECE: Final = 2**20
_PASSING: Final = {408, 425, 429, 500, 502, 503, 504}
_FAULTS: Final = (aiohttp.ClientError, ConnectionError, TimeoutError)
_WRONG_ADDRESS: Final = (aiohttp.InvalidURL, aiohttp.TooManyRedirects, aiohttp.NonHttpUrlClientError)
_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_COPY: Final = "copy it to a folder, or an object store"

_Taken = TypeVar("_Taken")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """What a server says of the part of a file that it sends."""

    start: int
    length: int | None
    size: int | None
    version: str | None
    """What changes with the file."""
    is_part: bool


class WebFiles(HTTPFileSystem):  # type: ignore[misc]
    """fsspec's file system of web servers, with all requests for data made here."""

    def __init__(self, *, read_seconds: float, **options: Any) -> None:
        client = {
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=read_seconds),
            "headers": {"Accept-Encoding": "identity"},
            "auto_decompress": False,
        }
        super().__init__(client_kwargs=client, read_seconds=read_seconds, **options)
        self.kwargs.pop("read_seconds", None)

    async def set_session(self) -> aiohttp.ClientSession:
        """Return the session, which is closed when the process ends."""
        is_new = self._session is None
        session: aiohttp.ClientSession = await super().set_session()
        if is_new and self.asynchronous:  # otherwise fsspec sees to it
            atexit.register(_close, session, asyncio.get_running_loop())
        return session

    async def _cat_file(self, url: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        if start is None and end is None:
            return await self._whole(url)
        if start is not None and start < 0 and end is None:
            return await self._suffix(url, -start)
        return await self.part(url, start or 0, end)

    async def part(self, url: str, start: int, end: int | None, version: str | None = None) -> bytes:
        """Return bytes `start` to `end` of a file, fewer where it ends before.

        Raise `InputError` when the server sends something else, or another `version` of the file.
        """
        if end is not None and end <= start:
            return b""
        wanted = f"bytes={start}-" + ("" if end is None else str(end - 1))
        return await self._repeated(url, wanted, lambda answer: _read_part(answer, url, start, end, version))

    async def _suffix(self, url: str, count: int) -> bytes:
        return await self._repeated(url, f"bytes=-{count}", lambda answer: _read_end(answer, url, count))

    async def _whole(self, url: str) -> bytes:
        return await self._repeated(url, None, lambda answer: _read_whole(answer, url))

    async def _info(self, url: str, **_: Any) -> dict[str, Any]:
        """Size and version, from a request for the first byte: not every server answers, or signs, HEAD."""

        async def look(answer: aiohttp.ClientResponse) -> Part:
            return _part(answer, url)

        told = await self._repeated(url, "bytes=0-0", look)
        return {"name": url, "size": told.size, "type": "file", "partial": told.is_part, "ETag": told.version}

    async def _exists(self, path: str, **_: Any) -> bool:
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    _isfile = _exists

    async def _isdir(self, path: str) -> bool:
        return False

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return nothing: pages that look like listings are no listings."""
        return []

    ls = fsspec.asyn.sync_wrapper(_ls)

    async def _find(self, path: str, detail: bool = False, **_: Any) -> Any:
        found = {path: await self._info(path)} if await self._exists(path) else {}
        return found if detail else list(found)

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        raise InputError(
            f"{without_keys(path)}: nothing is written to web servers; give a folder or s3://bucket/prefix"
        )

    async def _put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        await self._pipe_file(rpath, b"")

    async def _rm_file(self, path: str, **_: Any) -> None:
        await self._pipe_file(path, b"")

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        if mode != "rb":
            fsspec.asyn.sync(self.loop, self._pipe_file, path, b"")
        if block_size == 0:
            return super()._open(path, mode, block_size, **options)
        info = self.info(path)
        if not info["partial"] or info["size"] is None:
            raise InputError(f"{without_keys(path)}: this server sends no parts of files; {_COPY}")
        return WebFile(self, path, mode, BLOCK, size=info["size"], version=info["ETag"])

    def _raise_not_found_for_status(self, response: aiohttp.ClientResponse, url: str) -> None:
        try:
            _require_good(response, url)
        except _Passing as error:
            raise StoreError(f"{without_keys(url)}: the server answers {error.message}; try again later") from error

    async def _repeated(
        self, url: str, wanted: str | None, take: Callable[[aiohttp.ClientResponse], Awaitable[_Taken]]
    ) -> _Taken:
        """Return what `take` makes of the answer to a request; what fails for a passing reason is repeated."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._answer(url, wanted) as answer:
                    return await take(answer)
            except _WRONG_ADDRESS as error:
                raise InputError(f"{without_keys(url)}: {type(error).__name__}; check the address") from error
            except _FAULTS as error:
                reason = error.message if isinstance(error, _Passing) else type(error).__name__
                if attempt == ATTEMPTS:
                    raise StoreError(
                        f"{without_keys(url)}: failed {attempt} times, at last with {reason}; check the address, or "
                        "try again later"
                    ) from error
                logger.info("%s: %s; again", without_keys(url), reason)
            await asyncio.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1))  # noqa: S311
        raise AssertionError("ATTEMPTS is at least 1")

    @asynccontextmanager
    async def _answer(self, url: str, wanted: str | None) -> AsyncIterator[aiohttp.ClientResponse]:
        session = await self.set_session()
        headers = {} if wanted is None else {"Range": wanted}
        async with session.get(self.encode_url(url), headers=headers) as answer:
            _require_good(answer, url)
            yield answer


class WebFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file on a web server, of which parts are read. Raise `InputError` when it is replaced meanwhile."""

    def __init__(self, fs: WebFiles, path: str, mode: str, block_size: int, *, size: int, version: str | None) -> None:
        self._version = version
        super().__init__(fs, path, mode, block_size, size=size)

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = fsspec.asyn.sync(self.fs.loop, self.fs.part, self.path, start, end, self._version)
        return data


class _Passing(aiohttp.ClientError):
    """An answer that says that another may come later."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _require_good(answer: aiohttp.ClientResponse, url: str) -> None:
    shown, status = without_keys(url), answer.status
    told = f"{status} {answer.reason or ''}".strip()
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise FileNotFoundError(errno.ENOENT, "no such file", shown)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise AccessDeniedError(f"{shown}: the server refuses it ({told}); check the address, or ask for access")
    if status in _PASSING:
        raise _Passing(told)
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        raise InputError(f"{shown}: the server answers {told}; check the address")
    if any(each.url.scheme == "https" for each in answer.history) and answer.url.scheme != "https":
        raise InputError(f"{shown}: leads to an address that is not encrypted, http://{answer.url.host}; give another")
    packing = answer.headers.get("Content-Encoding", "identity")
    if packing not in ("", "identity") and not answer.url.path.endswith((".gz", ".tgz")):
        raise InputError(f"{shown}: the server packs what it sends ({packing[:20]}), asked not to; {_COPY}")


def _part(answer: aiohttp.ClientResponse, url: str) -> Part:
    headers = answer.headers
    version = headers.get("ETag") or headers.get("Last-Modified")
    length = None if answer.content_length is None else int(answer.content_length)
    if answer.status == HTTPStatus.OK:
        return Part(0, length, length, version, is_part=False)
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None or (match[1] is None) != (answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        raise InputError(f"{without_keys(url)}: the server does not say which part of the file it sends; {_COPY}")
    size = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return Part(0, 0, size, version, is_part=True)
    return Part(int(match[1]), int(match[2]) + 1 - int(match[1]), size, version, is_part=True)


async def _read_part(
    answer: aiohttp.ClientResponse, url: str, start: int, end: int | None, version: str | None
) -> bytes:
    told = _part(answer, url)
    if version is not None and told.version != version:
        raise InputError(f"{without_keys(url)}: was changed while it was read; give the same command again")
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return b""
    stop = told.size if end is None else min(end, told.size or end)
    if told.start != start or told.length is None or (stop is not None and told.length != stop - start):
        raise InputError(f"{without_keys(url)}: this server sends no parts of files; {_COPY}")
    most = MOST_BYTES if end is None else end - start
    return await _body(answer, url, told.length, most)


async def _read_end(answer: aiohttp.ClientResponse, url: str, count: int) -> bytes:
    told = _part(answer, url)
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return b""
    if told.size is None or told.length != min(count, told.size) or told.start + told.length != told.size:
        raise InputError(f"{without_keys(url)}: this server sends no parts of files; {_COPY}")
    return await _body(answer, url, told.length, count)


async def _read_whole(answer: aiohttp.ClientResponse, url: str) -> bytes:
    told = _part(answer, url)
    if told.is_part:
        raise InputError(f"{without_keys(url)}: the server sends a part of the file, asked for all of it; {_COPY}")
    return await _body(answer, url, told.length, MOST_BYTES)


async def _body(answer: aiohttp.ClientResponse, url: str, length: int | None, most: int) -> bytes:
    data = bytearray()
    if length is not None and length > most:
        raise InputError(f"{without_keys(url)}: the server sends {length} bytes; the limit is {most}; {_COPY}")
    async for piece in answer.content.iter_chunked(_PIECE):
        data += piece
        if len(data) > most:
            raise InputError(f"{without_keys(url)}: the server sends more than {most} bytes, the limit; {_COPY}")
    if length is not None and len(data) != length:
        raise CorruptDataError(f"{without_keys(url)}: {len(data)} bytes came of {length}; give the same command again")
    return bytes(data)


def _close(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    if loop.is_running():
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(timeout=5)
