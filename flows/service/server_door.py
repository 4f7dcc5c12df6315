"""Headers that the local Prefect server sends to browsers on top of Prefect: its pages talk to nobody but this server.

Prefect's pages may ask other hosts for something, now or in a later release, and so may a picture in the text of an
artifact. A content security policy with every answer makes the browser itself refuse that, as well as being shown
inside a page of somebody else's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_CLOSED: Final = ("/docs", "/redoc", "/openapi.json")
"""FastAPI's descriptions of the server, which need no key and load their programs from elsewhere."""


class Door:
    """An ASGI application around that of Prefect. `api` is the address at which its pages look for the API."""

    def __init__(self, application: Application, api: str) -> None:
        self._application = application
        self._headers = [(name.lower().encode(), value.encode()) for name, value in _headers(api).items()]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on and complete the answer."""

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        if scope["type"] == "http" and scope["path"].startswith(_CLOSED):
            await completed({"type": "http.response.start", "status": 404})
            await send({"type": "http.response.body"})
        else:
            await self._application(scope, receive, completed)


def _headers(api: str) -> dict[str, str]:
    others = ""
    if (host := urlsplit(api).netloc) and (scheme := urlsplit(api).scheme):  # of an API that a proxy serves elsewhere
        others = f" {scheme}://{host} {scheme.replace('http', 'ws')}://{host}"
    policy = {
        "default-src": "'self'",
        "connect-src": f"'self'{others}",
        "font-src": "'self' data:",
        "img-src": "'self' data: blob:",
        "script-src": "'self' 'unsafe-eval'",  # the picture of a run is drawn by programs that the page writes
        "style-src": "'self' 'unsafe-inline'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{kind} {sources}" for kind, sources in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
