"""Names under which a server answers.

A page of a foreign site can point its own name at 127.0.0.1 (DNS rebinding), and a browser then lets it talk to what
listens there. Such a request bears the foreign name in its `Host` header, and is refused.
"""

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from surgvl.serve.http_errors import Refused
from surgvl.serve.payloads import is_near

ANY = "*"


class Hosts:
    """Middleware that lets requests in by the names of this server alone.

    Allowed are this machine's own addresses, the address that is listened on, and what is named beside them. A server
    for other machines answers to any address in numbers and to this machine's name, too: neither can be rebound.

    Args:
        app: what is behind it.
        listens: address that is listened on.
        more: further names, without port; `*`: any.
    """

    def __init__(self, app: ASGIApp, listens: str = "127.0.0.1", more: Collection[str] = ()) -> None:
        self.app = app
        self.open = not is_near(listens)
        own = {socket.gethostname()} if self.open else set()
        self.names = {name.lower().strip("[]").rstrip(".") for name in {listens, *more, *own}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 to a name that is not allowed."""
        if scope["type"] in ("http", "websocket"):
            found = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(found) != 1 or not self.allows(found[0]):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                    return
                shown = f"{found[0][:60]!r} is" if found else "nothing is"
                answer = Refused(
                    400, f"Host: {shown} no name of this server: start it with --allowed_hosts NAME to be reached so"
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
            # Only a name and a port: neither a user nor a path.
            if parts.netloc != header or "@" in header or (parts.port is not None and not name):
                return False
        except ValueError:
            return False
        if name in self.names or is_near(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.open
