"""Requests to a Prefect API without Prefect, whose import takes seconds and 60 MiB.

For what has to be quick or small: `ps3d status`, and what keeps the stack running.
"""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from ps3d_app.flows.service.local_server import client_variables
from ps3d_core.errors import Ps3dError

KEY_VARIABLE: Final = "PREFECT_API_AUTH_STRING"
ANSWER_SECONDS: Final = 3.0
BUSY_SECONDS: Final = 0.3
PAGE: Final = 200
"""The most that Prefect answers at a time."""


class NoAnswerError(Ps3dError):
    """The API did not answer in time, or with an error."""


class NotThereError(NoAnswerError):
    """The API answered that nothing is at the path asked for."""


@dataclass
class PrefectApi:
    """A Prefect API at `url`; `key` is what it asks for, as user:password."""

    url: str
    key: str | None = None
    seconds: float = ANSWER_SECONDS
    """How long it may be silent."""
    _client: str = field(default_factory=lambda: str(uuid.uuid4()))
    _token: str | None = None

    def get(self, path: str) -> Any:
        """Return what is at `path`.

        Raise `NotThereError` when nothing is, another `NoAnswerError` when the API does not answer as it should.
        """
        return self._ask("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | Sequence[Any]) -> Any:
        """Return the answer to `body`, sent to `path`.

        Raise `NoAnswerError` when the API does not answer in time, or with an error.
        """
        return self._ask("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change what is at `path`.

        Raise `NoAnswerError` when the API does not answer in time, or with an error.
        """
        self._ask("PATCH", path, body)

    def all(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield all that a filter lets through, which may be more than fits into one answer.

        Raise `NoAnswerError` when the API does not answer in time, or with an error.
        """
        offset = 0
        while page := self.post(path, {**body, "limit": PAGE, "offset": offset}):
            yield from page
            offset += len(page)
            if len(page) < PAGE:
                return

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None = None) -> Any:
        try:
            try:
                return self._patiently(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.FORBIDDEN or body is None:
                    raise
            # It wants a token besides the key, so that no page of a browser can ask in the user's name.
            self._token = self.get(f"/csrf-token?client={self._client}")["token"]
            return self._patiently(method, path, body)
        except urllib.error.HTTPError as error:
            kind = NotThereError if error.code == HTTPStatus.NOT_FOUND else NoAnswerError
            raise kind(f"{self.url}{path}: {error}") from error
        except (OSError, ValueError) as error:
            raise NoAnswerError(f"{self.url}: {_reason(error)}") from error

    def _patiently(self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None) -> Any:
        """The answer of a server that says for a moment that it is busy, as Prefect does while SQLite is."""
        give_up = time.monotonic() + self.seconds
        while True:
            try:
                return self._answer(method, path, body)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > give_up:
                    raise
                time.sleep(BUSY_SECONDS)

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(self.key.encode()).decode()}"
        if self._token is not None:
            headers |= {"Prefect-Csrf-Client": self._client, "Prefect-Csrf-Token": self._token}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=self.seconds) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else None


def connect(url: str) -> PrefectApi:
    """Return the API at `url`, with the key that this process was given for it.

    Raise `NoAnswerError` when `url` is no address of an API.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise NoAnswerError(f"{url}: is no address of a Prefect API; give one like http://host:4200/api")
    key = client_variables(url).get(KEY_VARIABLE) or os.environ.get(KEY_VARIABLE)
    return PrefectApi(url.rstrip("/"), key)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return "no answer" if isinstance(reason, TimeoutError) else str(getattr(reason, "strerror", None) or reason).lower()
