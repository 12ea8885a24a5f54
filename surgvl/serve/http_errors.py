"""Error responses of the gateway: OpenAI's form, one plain sentence, and no path of the server's disk in it."""

import os
import re
from collections.abc import Collection

from starlette.responses import JSONResponse

from surgvl.core.errors import ServerError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    415: "invalid_request_error",
    500: "server_error",
    502: "engine_error",
    503: "unavailable_error",
}
_PATH = re.compile(r"/[^\s'\"`,;:()<>\[\]{}/]+(?:/[^\s'\"`,;:()<>\[\]{}/]+)*/?")


class RequestError(ServerError):
    """A request that is rejected.

    Args:
        status: HTTP status.
        message: one sentence for the client.
        retry_s: seconds after which a retry makes sense; None: it must be changed first.
        kind: the error's type; by default the usual one of the status.
    """

    def __init__(self, status: int, message: str, retry_s: int | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.retry_s = status, message, retry_s
        self.kind = kind or TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")

    def body(self) -> dict[str, dict[str, str | int]]:
        """The error in OpenAI's form."""
        return {"error": {"message": self.message, "type": self.kind, "code": self.status}}

    def response(self) -> JSONResponse:
        """The HTTP response."""
        headers = {} if self.retry_s is None else {"Retry-After": str(self.retry_s)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def hide_paths(message: str, allowed: Collection[str]) -> str:
    """Replace paths of this machine in a text.

    Args:
        message: error message of an engine.
        allowed: addresses that the client itself sent, which may be repeated.
    """

    def hide(found: re.Match[str]) -> str:
        path = found[0]
        # Only what starts with an existing folder is a path: "/v1/models" and "and/or" are not.
        first = "/" + path.split("/")[1]
        return path if any(path in each for each in allowed) or not os.path.lexists(first) else "(a path)"

    return _PATH.sub(hide, message)
