"""What a request must bear before anything of it is read: a head of bounded size, and the key."""

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from surgvl.serve.connection import MAX_HEAD
from surgvl.serve.http_errors import Refused
from surgvl.serve.request_body import Incoming


class Door:
    """Middleware that lets in who has the key and a head within the limit; /health needs no key.

    Args:
        app: what is behind it.
        key: what must be sent as `Authorization: Bearer KEY`; empty: nothing.
    """

    def __init__(self, app: ASGIApp, key: bytes) -> None:
        self.app, self.wanted = app, b"Bearer " + key if key else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 431 or 401 to whoever is not let in."""
        # h11 limits what it has to collect, and not a head that comes in one piece.
        if scope["type"] == "http" and _head_size(scope) > MAX_HEAD:
            await Incoming(receive).refuse(Refused(431, f"the head has over {MAX_HEAD} bytes: send less"), send)
            return
        if scope["type"] == "http" and self.wanted and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.wanted):
                no = Refused(401, "the key is missing or wrong: send it as Authorization: Bearer KEY")
                await Incoming(receive).refuse(no, send)
                return
        await self.app(scope, receive, send)


def _head_size(scope: Scope) -> int:
    words = [scope["raw_path"], scope["query_string"], *(word for pair in scope["headers"] for word in pair)]
    return sum(map(len, words)) + 4 * len(scope["headers"])
