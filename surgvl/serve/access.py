"""Access control: the size of a request's headers and its API key are checked before its body is read."""

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from surgvl.serve.connection import MAX_HEADER_BYTES
from surgvl.serve.http_errors import RequestError
from surgvl.serve.request_body import RequestBody


class AccessControl:
    """Middleware that requires the API key, except for /health, and limits the size of headers.

    Args:
        app: the application behind it.
        key: must be sent as `Authorization: Bearer KEY`; empty: no key is needed.
    """

    def __init__(self, app: ASGIApp, key: bytes) -> None:
        self.app, self.required = app, b"Bearer " + key if key else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 431 or 401, or pass the request on."""
        # h11 limits headers that arrive in several parts, but not those that arrive in one.
        if scope["type"] == "http" and _header_size(scope) > MAX_HEADER_BYTES:
            error = RequestError(431, f"headers must have at most {MAX_HEADER_BYTES} bytes: send less")
            await RequestBody(receive).reject(error, send)
            return
        if scope["type"] == "http" and self.required and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.required):
                error = RequestError(401, "the key is missing or wrong: send it as Authorization: Bearer KEY")
                await RequestBody(receive).reject(error, send)
                return
        await self.app(scope, receive, send)


def _header_size(scope: Scope) -> int:
    parts = [scope["raw_path"], scope["query_string"], *(part for pair in scope["headers"] for part in pair)]
    return sum(map(len, parts)) + 4 * len(scope["headers"])
