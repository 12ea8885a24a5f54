"""Host names under which a server may be reached, against DNS rebinding.

A foreign website can point its own name at 127.0.0.1, and a browser then lets it talk to whatever listens there. Such a
request carries the foreign name in its `Host` header, and is rejected.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from surgvl.serve.http_errors import RequestError
from surgvl.serve.payloads import is_loopback

ANY = "*"


class TrustedHosts:
    """Middleware that accepts requests only under this server's own names.

    Accepted are loopback addresses, the address that the server listens on, and the given names. A server that other
    machines can reach also accepts any numeric address and this machine's name: neither can be rebound.

    Args:
        app: the application behind it.
        host: address that the server listens on.
        allowed: further names, without port; `*`: any.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", allowed: Collection[str] = ()) -> None:
        self.app = app
        self.public = not is_loopback(host)
        own = {socket.gethostname()} if self.public else set()
        self.names = {name.lower().strip("[]").rstrip(".") for name in {host, *allowed, *own}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 400 to any other name."""
        if scope["type"] in ("http", "websocket"):
            found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(found) != 1 or not self.allows(found[0]):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                    return
                what = f"{found[0][:60]!r} is not a name of this server" if found else "it is missing"
                answer = RequestError(
                    400, f"Host header: {what}; to allow one, start with --allowed_hosts NAME"
                ).response()
                answer.headers["Connection"] = "close"
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def allows(self, header: str) -> bool:
        """Whether a `Host` header, with or without port, names this server."""
        if ANY in self.names:
            return True
        try:
            parts = urlsplit(f"//{header}")
            name = (parts.hostname or "").rstrip(".")
            # Only a name and a port: no user, no path.
            if parts.netloc != header or "@" in header or (parts.port is not None and not name):
                return False
        except ValueError:
            return False
        if name in self.names or is_loopback(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.public
