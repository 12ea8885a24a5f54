"""Who may use the page, and under which name: password, address with a token, and a name for each visitor.

Everything is behind the lock, Gradio's own routes too. Without a password or token, whoever reaches the page may use
it, as before. A page of another site can neither read nor change anything: its requests carry its own `Origin`.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surgvl.demo.render import render

KEY, NAME = "surgvl_key", "surgvl_user"
YEAR_S = 365 * 86_400
LONGEST_NAME = 40
# A person who mistypes does not notice it, and a program tries eighty thousand words a day.
WRONG_S = 1.0
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self'; script-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
# Of Gradio's own routes, those that its clients need to call functions. Others take files, open addresses, or watch.
_GRADIO = re.compile(r"/(config|gradio_api/(info|startup-events|heartbeat/\w+|queue/(join|data)|call/\w+(/\w+)?))/?")
_FOREIGN = re.compile(
    r"/(gradio_api|config|svelte|assets|monitoring|manifest\.json|theme\.css|pwa_icon|deep_link|docs|redoc"
    r"|openapi\.json|logout|robots\.txt|custom_component|theme)(/|$|\?).*"
)


class Lock:
    """A password, a token, or both; either opens.

    Args:
        password: that people type; empty: none.
        token: that the printed address carries; empty: none.
    """

    def __init__(self, password: str = "", token: str = "") -> None:
        self.password, self.token = password, token
        # Slow on purpose: a stolen cookie does not give the password away.
        both = f"{password}\n{token}".encode()
        self.key = hashlib.scrypt(both, salt=b"surgvl page", n=2**13, r=8, p=1).hex() if self.is_locked else ""

    @property
    def is_locked(self) -> bool:
        """Whether there is anything to open."""
        return bool(self.password or self.token)

    def opens(self, word: str) -> bool:
        """Whether a word is the password or the token."""
        return any(hmac.compare_digest(word.encode(), each.encode()) for each in (self.password, self.token) if each)

    def is_open(self, cookie: str) -> bool:
        """Whether a cookie was given to somebody who had opened the lock."""
        return not self.is_locked or hmac.compare_digest(cookie.encode(), self.key.encode())


class Access:
    """Middleware: the lock, the visitor's name (`scope["state"]["user"]`), and headers that browsers enforce.

    Args:
        app: the application behind it.
        lock: the lock.
    """

    def __init__(self, app: ASGIApp, lock: Lock) -> None:
        self.app, self.lock = app, lock
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass a request on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            # The page has no web sockets.
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        cookies = _cookies(request)
        given = unquote(cookies.get(NAME, ""))
        name = given if may_be_called(given) else f"guest-{secrets.token_hex(3)}"
        scope.setdefault("state", {})["user"] = name
        fresh = [] if name == given else [cookie(NAME, quote(name))]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].lower() not in _HEADERS]
                message["headers"] = [*kept, *_HEADERS.items(), *((b"set-cookie", each) for each in fresh)]
            await send(message)

        refusal = await self._refusal(request, cookies.get(KEY, ""))
        await (self.app if refusal is None else refusal)(scope, receive, answer)

    async def _refusal(self, request: Request, key: str) -> Response | None:
        """What is answered in place of the application; None: nothing."""
        path, origin = request.url.path, request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
            return JSONResponse({"error": "a page of another site may not use this one"}, 403)
        if _FOREIGN.fullmatch(path) and not is_gradio(path):
            return JSONResponse({"error": "there is nothing at this address"}, 404)
        if self.lock.is_locked and request.query_params.get("token"):
            return await self._by_token(request)
        if path == "/login":
            return await self._login(request)
        # Scripts and styles are the same for everybody, and the form needs its own.
        if self.lock.is_open(key) or path.startswith("/static/"):
            return None
        if (word := _bearer(request)) and await self._tried(word):
            return None
        if request.method == "GET" and path == "/":
            return HTMLResponse(render("login", wrong=False, next_query=request.url.query), 401)
        return JSONResponse({"error": "this page is locked: open / and give the password"}, 401)

    async def _by_token(self, request: Request) -> Response:
        """Take the token out of the address, so that it is in no history or screenshot."""
        rest = urlencode([pair for pair in parse_qsl(request.url.query) if pair[0] != "token"])
        # Relative, because the page may lie behind a prefix.
        away = RedirectResponse(f"./{'?' if rest else ''}{rest}", 303)
        if await self._tried(request.query_params["token"]):
            away.raw_headers.append((b"set-cookie", cookie(KEY, self.lock.key)))
        return away

    async def _login(self, request: Request) -> Response:
        if not self.lock.is_locked or request.method != "POST":
            return RedirectResponse("./", 303)
        if int(request.headers.get("content-length") or 10_000) >= 10_000:
            return JSONResponse({"error": "the form is too long"}, 413)
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        query = form.get("next", "")
        if not await self._tried(form.get("password", "")):
            return HTMLResponse(render("login", wrong=True, next_query=query), 401)
        away = RedirectResponse(f"./{'?' if query else ''}{quote(query, safe='=&%+')}", 303)
        away.raw_headers.append((b"set-cookie", cookie(KEY, self.lock.key)))
        return away

    async def _tried(self, word: str) -> bool:
        async with self._one_at_a_time:
            if not self.lock.opens(word):
                await asyncio.sleep(WRONG_S)
                return False
        return True


def may_be_called(name: str) -> bool:
    """Whether a visitor may have a name; "data set" is how the labels of data sets are signed."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name.casefold() != "data set"


def is_gradio(path: str) -> bool:
    """Whether Gradio answers at an address, and may."""
    return _GRADIO.fullmatch(path) is not None


def cookie(name: str, value: str) -> bytes:
    """The header that gives a browser a cookie which scripts cannot read and other sites do not send."""
    return f"{name}={value}; Path=/; Max-Age={YEAR_S}; HttpOnly; SameSite=Lax".encode("ascii")


def _cookies(request: Request) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(request.headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _bearer(request: Request) -> str:
    kind, _, word = request.headers.get("authorization", "").partition(" ")
    return word if kind.lower() == "bearer" else ""
