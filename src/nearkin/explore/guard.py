"""Protection against other pages and machines: host, token, origin and size are checked before any handler runs.

The server listens on the loopback interface only, but every web page in the user's browser can send requests there:
- DNS rebinding (a foreign name that resolves to 127.0.0.1) is stopped by the Host header;
- cross-site requests are stopped by the Origin header and by a token that only the printed link carries;
- a page that embeds or reads this one is stopped by the response headers.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER = "x-nearkin-token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_UPLOAD = 20 * 1024 * 1024
# regl compiles its draw commands with Function(), which needs 'unsafe-eval'; inline scripts are refused.
CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def same_token(given: str, token: str) -> bool:
    """Compare in time that does not depend on where the two differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def host_is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names the loopback interface."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


def origin_is_own(origin: str, host: str) -> bool:
    """Whether an Origin header is the page that this server serves under ``host``."""
    return origin == f"http://{host}"


class Guard:
    """ASGI middleware with the checks above. A refused request gets a plain line and never reaches the application."""

    def __init__(self, app: App, token: str, most: int = MOST_UPLOAD) -> None:
        self.app, self.token, self.most = app, token, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets here
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _refuse(send, *refused)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_encoded(HEADERS)]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """(status, reason) of a request that must not go on."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            if key in ("host", "origin", TOKEN_HEADER) and key in headers:
                return 400, f"the header {key} is there twice."
            headers[key] = value.decode("latin-1")
        host = headers.get("host", "")
        if not host_is_loopback(host):
            return 421, "this server answers only to 127.0.0.1 and localhost."
        origin = headers.get("origin")
        if origin is not None and not origin_is_own(origin, host):
            return 403, "requests of other pages are refused."
        if scope["method"] not in ("GET", "HEAD") and origin is None:
            return 403, "a request that sends something must come from the page itself (no Origin header)."
        if scope["path"].startswith("/api/") and not same_token(headers.get(TOKEN_HEADER, ""), self.token):
            return 401, "the token is missing or wrong; open the link that the terminal shows."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.most:
            return 413, f"at most {self.most // (1024 * 1024)} MiB can be sent."
        return None


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = HEADERS | {"content-type": "text/plain; charset=utf-8"}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": reason.encode()})
